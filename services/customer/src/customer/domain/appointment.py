"""Appointments: what is planned with people, and what becomes of it."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from uuid import UUID
from zoneinfo import ZoneInfo

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.states import StateMachine
from customer.domain.interaction import Interaction
from customer.domain.recurrence import (
    YEARS,
    checked_recurrence,
    checked_zone,
    moved_along,
    next_time,
)

APPOINTMENT = StateMachine(
    "state",
    {
        "hold": ({"PLANNED"}, "HELD"),
        "miss": ({"PLANNED"}, "NO_SHOW"),
        "cancel": ({"PLANNED"}, "CANCELLED"),
        "reopen": ({"CANCELLED", "NO_SHOW"}, "PLANNED"),
    },
)

_LONGEST = timedelta(days=31)
# How far the clocks of those who meet may be ahead of ours.
_CLOCKS_DIFFER_BY = timedelta(minutes=5)


@dataclass(kw_only=True)
class Attendee:
    """Somebody who is invited: a user, a contact, or an address."""

    user: UUID | None = None
    contact: UUID | None = None
    address: str | None = None
    reply: str | None = None

    @property
    def name(self) -> str:
        """The record's name, or the address."""
        if self.user is not None:
            return f"users/{self.user}"
        return f"contacts/{self.contact}" if self.contact is not None else self.address or ""


@dataclass(kw_only=True)
class Appointment(Record):
    """A meeting, a call or a visit to come.

    Methods that change the state raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no
    entry.

    Attributes:
        participants: Names of the owner, and of the users and contacts that are invited.
        reminder_minutes: How long before it begins somebody is reminded.
        series_start_time: When the first appointment of the series began; its rule counts from there.
    """

    kind: str = "MEETING"
    title: str
    description: str | None = None
    state: str = "PLANNED"
    start_time: datetime
    end_time: datetime
    time_zone: str | None = None
    recurrence: str | None = None
    place: str | None = None
    attendees: list[Attendee] = field(default_factory=list)
    participants: list[str] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    reminder_minutes: list[int] = field(default_factory=list)
    series_start_time: datetime | None = None
    next_appointment: UUID | None = None
    interaction: UUID | None = None
    close_time: datetime | None = None
    closer: UUID | None = None

    @property
    def to_come(self) -> bool:
        """Whether it is still planned."""
        return self.state == "PLANNED" and self.delete_time is None

    def check(self) -> None:
        """Raises InvalidArgument where times, people or the rule are wrong in themselves."""
        if not timedelta(0) < self.end_time - self.start_time <= _LONGEST:
            msg = "An appointment ends after it begins, and within 31 days."
            raise InvalidArgument(msg, field="appointment.end_time")
        if self.start_time.year not in YEARS:
            msg = f"An appointment lies in the years {YEARS[0]} to {YEARS[-1]}."
            raise InvalidArgument(msg, field="appointment.start_time")
        self._check_people()
        self.related = list(dict.fromkeys(self.related))
        self.reminder_minutes = sorted(set(self.reminder_minutes), reverse=True)
        self.recurrence = self.recurrence or None
        self.time_zone = self.time_zone or None
        if self.time_zone is not None:
            checked_zone(self.time_zone, field="appointment.time_zone")
        if self.recurrence is not None:
            self.recurrence = checked_recurrence(
                self.recurrence,
                self.start_time,
                field="appointment.recurrence",
                start_field="appointment.start_time",
            )

    def _check_people(self) -> None:
        seen: set[str] = set()
        for index, attendee in enumerate(self.attendees):
            path = f"appointment.attendees[{index}]"
            given = [attendee.user, attendee.contact, attendee.address or None]
            if sum(one is not None for one in given) != 1:
                msg = f"{path} is one of a user, a contact and an address."
                raise InvalidArgument(msg, field=path)
            if attendee.name in seen:
                msg = f"{path} is invited already."
                raise InvalidArgument(msg, field=path)
            seen.add(attendee.name)
            attendee.reply = attendee.reply or "AWAITED"
        host = [f"users/{self.owner}"] if self.owner is not None else []
        people = [attendee.name for attendee in self.attendees if not attendee.address]
        self.participants = list(dict.fromkeys([*host, *people]))

    def settle_series(self, before: "Appointment | None", zone: str) -> None:
        """Notes where a series begins: where its rule was made, or where its first one was moved to."""
        if self.recurrence is None:
            self.series_start_time = None
            return
        self.time_zone = self.time_zone or zone
        is_first = before is not None and before.start_time == before.series_start_time
        changed = before is not None and before.recurrence != self.recurrence
        if self.series_start_time is None or changed or is_first:
            self.series_start_time = self.start_time

    def busy_users(self) -> list[UUID]:
        """Who is busy with it: its owner and the invited users, unless they declined."""
        declined = {a.user for a in self.attendees if a.reply == "DECLINED"}
        users = [self.owner, *(a.user for a in self.attendees)]
        return [user for user in dict.fromkeys(users) if user is not None and user not in declined]

    # -- what becomes of it

    def hold(
        self, interaction_id: UUID, now: datetime, by: UUID | None, body: str | None
    ) -> Interaction:
        """It took place: answers what is to be recorded of it."""
        self._close("hold", "held", now, by)
        self.interaction = interaction_id
        return Interaction(
            id=interaction_id,
            create_time=now,
            update_time=now,
            creator=by,
            owner=self.owner,
            team=self.team,
            kind=self.kind,
            subject=self.title,
            body=body or self.description,
            participants=list(self.participants),
            participant_addresses=[a.address for a in self.attendees if a.address],
            related=list(self.related),
            duration_minutes=int((self.end_time - self.start_time).total_seconds() // 60),
            occur_time=min(self.start_time, now),
        )

    def miss(self, now: datetime, by: UUID | None) -> None:
        """Somebody did not come."""
        self._close("miss", "missed", now, by)

    def _close(self, method: str, kind: str, now: datetime, by: UUID | None) -> None:
        APPOINTMENT.check(self, method)
        if self.start_time > now + _CLOCKS_DIFFER_BY:
            msg = "The appointment has not begun; move or cancel it."
            raise FailedPrecondition(msg, reason="APPOINTMENT_NOT_BEGUN")
        APPOINTMENT.move(self, method)
        self.close_time, self.closer = now, by
        self.record(kind, effective_time=self.start_time)

    def cancel(self, now: datetime, by: UUID | None) -> None:
        """It is called off."""
        APPOINTMENT.move(self, "cancel")
        self.close_time, self.closer = now, by
        self.record("cancelled")

    def reopen(self) -> None:
        """It is planned again."""
        APPOINTMENT.move(self, "reopen")
        self.close_time = self.closer = None
        self.record("reopened")

    def reply(self, attendee: str, reply: str) -> None:
        """Somebody says whether they will come.

        Raises:
            FailedPrecondition: `APPOINTMENT_OVER`: it is not planned any more.
            InvalidArgument: `NOT_INVITED`: they are not among the attendees.
        """
        if self.state != "PLANNED":
            msg = "Nobody is awaited any more."
            raise FailedPrecondition(msg, reason="APPOINTMENT_OVER", metadata={"state": self.state})
        if attendee not in {a.name for a in self.attendees if not a.address}:
            msg = f"{attendee} is not invited."
            raise InvalidArgument(msg, reason="NOT_INVITED", field="attendee")
        # New ones: those at hand are also what the record was before.
        self.attendees = [
            replace(a, reply=reply) if a.name == attendee else a for a in self.attendees
        ]
        self.record("replied")

    def following(
        self, new_id: Callable[[], UUID], now: datetime, by: UUID | None
    ) -> "Appointment | None":
        """The next appointment of the series, made once; None where there is none."""
        if self.recurrence is None or self.next_appointment is not None:
            return None
        assert self.series_start_time is not None
        zone = ZoneInfo(self.time_zone or "UTC")
        after = max(self.start_time, now)
        start = next_time(self.recurrence, self.series_start_time, zone, after)
        if start is None:
            return None
        self.next_appointment = new_id()
        return replace(
            self,
            id=self.next_appointment,
            version=1,
            create_time=now,
            update_time=now,
            creator=by,
            external_id=None,
            events=[],
            state="PLANNED",
            start_time=start,
            end_time=moved_along(self.end_time, self.start_time, start, zone),
            attendees=[replace(a, reply="AWAITED") for a in self.attendees],
            next_appointment=None,
            interaction=None,
            close_time=None,
            closer=None,
        )
