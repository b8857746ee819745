"""Appointments: which method is allowed in which state, who is busy, and what follows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.states import Cell
from customer.domain.appointment import APPOINTMENT, Appointment, Attendee
from customer.domain.busy import Span, busy_spans, checked_window

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


def appointment(
    start: datetime = NOW - HOUR, length: timedelta = HOUR, **values: Any
) -> Appointment:
    made = Appointment(
        id=uuid4(), create_time=NOW, update_time=NOW, title="Visit",
        start_time=start, end_time=start + length, **values,
    )  # fmt: skip
    made.check()
    made.settle_series(None, "Europe/Berlin")
    return made


def act(record: Appointment, method: str) -> None:
    acts: dict[str, Any] = {
        "hold": lambda: record.hold(uuid4(), NOW, None, None),
        "miss": lambda: record.miss(NOW, None),
        "cancel": lambda: record.cancel(NOW, None),
        "reopen": record.reopen,
    }
    acts[method]()


@pytest.mark.parametrize("cell", list(APPOINTMENT.cells()), ids=lambda c: f"{c.method}-{c.state}")
def test_the_table_of_states(cell: Cell) -> None:
    """INVARIANT: a method goes where the table says, or changes nothing."""
    record = appointment(state=cell.state)
    if cell.target is None:
        with pytest.raises(FailedPrecondition) as refused:
            act(record, cell.method)
        assert refused.value.reason == "ILLEGAL_TRANSITION"
        assert (record.state, record.events, record.interaction) == (cell.state, [], None)
    else:
        act(record, cell.method)
        assert record.state == cell.target
        assert record.events


@pytest.mark.parametrize("method", ["hold", "miss"])
def test_what_has_not_begun_has_not_happened(method: str) -> None:
    record = appointment(NOW + HOUR)
    with pytest.raises(FailedPrecondition) as refused:
        act(record, method)
    assert refused.value.reason == "APPOINTMENT_NOT_BEGUN"
    assert record.state == "PLANNED"


def test_a_held_appointment_is_an_interaction_with_the_same_people() -> None:
    contact, ada, ben = uuid4(), uuid4(), uuid4()
    record = appointment(
        kind="VISIT", owner=ada, related=["accounts/x"], length=timedelta(minutes=45),
        attendees=[Attendee(contact=contact), Attendee(user=ben), Attendee(address="a@b.c")],
    )  # fmt: skip
    told = record.hold(uuid4(), NOW, ada, "They want 100")
    assert (told.kind, told.subject, told.body) == ("VISIT", "Visit", "They want 100")
    assert told.participants == [f"users/{ada}", f"contacts/{contact}", f"users/{ben}"]
    assert told.participant_addresses == ["a@b.c"]
    assert (told.related, told.duration_minutes) == (["accounts/x"], 45)
    assert (told.occur_time, told.owner) == (record.start_time, ada)
    assert record.interaction == told.id


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"length": timedelta(0)}, "appointment.end_time"),
        ({"length": -HOUR}, "appointment.end_time"),
        ({"length": timedelta(days=32)}, "appointment.end_time"),
        ({"start": datetime(1, 1, 1, tzinfo=UTC)}, "appointment.start_time"),
        ({"start": datetime(9999, 12, 31, tzinfo=UTC)}, "appointment.start_time"),
        ({"attendees": [Attendee()]}, "appointment.attendees[0]"),
        ({"attendees": [Attendee(user=uuid4(), address="a@b.c")]}, "appointment.attendees[0]"),
        ({"attendees": [Attendee(address="a@b.c")] * 2}, "appointment.attendees[1]"),
        ({"recurrence": "FREQ=NEVER"}, "appointment.recurrence"),
        ({"time_zone": "Mars"}, "appointment.time_zone"),
    ],
)
def test_what_is_no_appointment_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        appointment(**values)
    assert refused.value.violations[0].field == field


def test_an_answer_is_kept_until_it_is_over() -> None:
    ben = uuid4()
    record = appointment(attendees=[Attendee(user=ben), Attendee(address="a@b.c")])
    assert [a.reply for a in record.attendees] == ["AWAITED", "AWAITED"]
    before = list(record.attendees)
    record.reply(f"users/{ben}", "DECLINED")
    assert [a.reply for a in record.attendees] == ["DECLINED", "AWAITED"]
    assert [a.reply for a in before] == ["AWAITED", "AWAITED"]
    for stranger in (f"users/{uuid4()}", "a@b.c"):
        with pytest.raises(InvalidArgument) as refused:
            record.reply(stranger, "ACCEPTED")
        assert refused.value.reason == "NOT_INVITED"
    record.cancel(NOW, None)
    with pytest.raises(FailedPrecondition) as over:
        record.reply(f"users/{ben}", "ACCEPTED")
    assert over.value.reason == "APPOINTMENT_OVER"


def test_a_series_goes_on_with_the_same_people_who_are_asked_anew() -> None:
    """INVARIANT: one appointment follows, and it has nothing of what became of the one before."""
    ben = uuid4()
    record = appointment(
        NOW - HOUR, recurrence="FREQ=WEEKLY", attendees=[Attendee(user=ben, reply="ACCEPTED")],
        external_id="X",
    )  # fmt: skip
    record.hold(uuid4(), NOW, None, None)
    following = record.following(uuid4, NOW, None)
    assert following is not None
    assert record.next_appointment == following.id
    assert following.start_time == record.start_time + timedelta(days=7)
    assert following.end_time - following.start_time == HOUR
    assert [a.reply for a in following.attendees] == ["AWAITED"]
    empty = ("interaction", "next_appointment", "close_time", "closer", "external_id")
    assert [getattr(following, name) for name in empty] == [None] * 5
    assert (following.state, following.version, following.events) == ("PLANNED", 1, [])
    assert record.following(uuid4, NOW, None) is None


# -- when people are busy


def busy(user: UUID, *appointments: Appointment, days: int = 14) -> list[tuple[datetime, datetime]]:
    window = Span(NOW, NOW + timedelta(days=days))
    return [(span.start, span.end) for span in busy_spans(appointments, user, window)]


def test_times_that_overlap_or_touch_are_one_and_end_with_the_window() -> None:
    ada = uuid4()
    made = [
        appointment(NOW + n * HOUR, length, owner=ada)
        for n, length in ((3, HOUR), (1, 2 * HOUR), (2, HOUR), (9, HOUR), (-1, 1.5 * HOUR))
    ]
    assert busy(ada, *made) == [
        (NOW, NOW + HOUR / 2), (NOW + HOUR, NOW + 4 * HOUR), (NOW + 9 * HOUR, NOW + 10 * HOUR),
    ]  # fmt: skip
    assert busy(uuid4(), *made) == []


def test_who_declined_is_free() -> None:
    ada, ben = uuid4(), uuid4()
    made = appointment(NOW + HOUR, owner=ada, attendees=[Attendee(user=ben)])
    assert len(busy(ben, made)) == 1
    made.reply(f"users/{ben}", "DECLINED")
    assert busy(ben, made) == []
    assert len(busy(ada, made)) == 1


def test_what_recurs_counts_each_time_until_it_is_over() -> None:
    """Also a series that began long before, and one of which a single time was moved."""
    ada = uuid4()
    # Begun in summer: 15:00 in Berlin is an hour later by UTC now.
    old = appointment(NOW - 70 * DAY + HOUR, owner=ada, recurrence="FREQ=WEEKLY")
    expected = [NOW + 2 * HOUR, NOW + 7 * DAY + 2 * HOUR]
    assert [start for start, _ in busy(ada, old)] == expected
    moved = appointment(NOW + HOUR, owner=ada, recurrence="FREQ=WEEKLY")
    moved.series_start_time = NOW
    moved.start_time, moved.end_time = NOW + DAY, NOW + DAY + HOUR
    assert [start for start, _ in busy(ada, moved)] == [NOW + DAY, NOW + 7 * DAY]
    moved.state = "HELD"
    assert [start for start, _ in busy(ada, moved)] == [NOW + DAY]


@pytest.mark.parametrize("year", [1, 1970, 2300, 9999])
def test_a_time_in_which_nothing_lies_may_be_asked_about(year: int) -> None:
    """INVARIANT: no time makes a fault, also where somebody has a series."""
    series = appointment(owner=uuid4(), recurrence="FREQ=DAILY")
    assert series.owner is not None
    start = datetime(year, 1, 2, tzinfo=UTC)
    assert busy_spans([series], series.owner, Span(start, start + DAY)) == []


@pytest.mark.parametrize("length", [timedelta(0), -HOUR, timedelta(days=63)])
def test_a_time_that_is_none_or_too_long_is_not_asked_about(length: timedelta) -> None:
    with pytest.raises(InvalidArgument):
        checked_window(NOW, NOW + length)
