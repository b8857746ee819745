"""When people are busy: the times of their appointments, those that recur included."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from crmkit.errors import InvalidArgument
from customer.domain.appointment import Appointment
from customer.domain.recurrence import moved_along, times_of

_LONGEST_WINDOW = timedelta(days=62)


@dataclass(frozen=True, order=True)
class Span:
    """A time from its beginning to, but without, its end."""

    start: datetime
    end: datetime


def checked_window(start: datetime, end: datetime) -> Span:
    """The time that somebody asks about; raises InvalidArgument if it is none or too long."""
    if not timedelta(0) < end - start <= _LONGEST_WINDOW:
        msg = "The time asked about ends after it begins, and within 62 days."
        raise InvalidArgument(msg, field="end_time")
    return Span(start, end)


def busy_spans(appointments: Iterable[Appointment], user: UUID, window: Span) -> list[Span]:
    """The times within a window at which a user is busy, in order; what overlaps or touches is one."""
    spans = sorted(
        Span(max(span.start, window.start), min(span.end, window.end))
        for appointment in appointments
        if user in appointment.busy_users()
        for span in _spans(appointment, window)
        if span.start < window.end and span.end > window.start
    )
    merged: list[Span] = []
    for span in spans:
        if merged and span.start <= merged[-1].end:
            merged[-1] = Span(merged[-1].start, max(merged[-1].end, span.end))
        else:
            merged.append(span)
    return merged


def _spans(appointment: Appointment, window: Span) -> Iterator[Span]:
    """Its own time, and if it is planned those at which it comes again, up to the window's end."""
    start, end = appointment.start_time, appointment.end_time
    yield Span(start, end)
    if appointment.recurrence is None or not appointment.to_come:
        return
    assert appointment.series_start_time is not None
    zone = ZoneInfo(appointment.time_zone or "UTC")
    for again in times_of(
        appointment.recurrence, appointment.series_start_time, zone, window.start
    ):
        if again >= window.end:
            return
        if again > start:
            yield Span(again, moved_along(end, start, again, zone))
