"""When what recurs comes again."""

from datetime import UTC, datetime
from time import process_time
from zoneinfo import ZoneInfo

import pytest

from crmkit.errors import InvalidArgument
from customer.domain.recurrence import checked_recurrence, moved_along, next_time, times_of

BERLIN = ZoneInfo("Europe/Berlin")
START = datetime(2026, 10, 20, 7, tzinfo=UTC)  # a Tuesday, nine o'clock in Berlin


def checked(rule: str, start: datetime | None = START) -> str:
    return checked_recurrence(rule, start, field="task.recurrence", start_field="task.due_time")


def test_nine_o_clock_stays_nine_o_clock_when_winter_begins() -> None:
    """INVARIANT: a series is counted on the wall clock of its zone, not in seconds."""
    times = list(times_of("FREQ=WEEKLY;COUNT=3", START, BERLIN, START))
    assert [time.hour for time in times] == [7, 8, 8]
    assert {time.astimezone(BERLIN).hour for time in times} == {9}


def test_an_hour_that_does_not_exist_is_the_hour_after() -> None:
    """On the night when summer begins half past two is skipped."""
    start = datetime(2027, 3, 27, 1, 30, tzinfo=UTC)
    _, second = times_of("FREQ=DAILY;COUNT=2", start, BERLIN, start)
    assert second == datetime(2027, 3, 28, 1, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ("FREQ=DAILY", "2026-10-21"),
        ("FREQ=DAILY;INTERVAL=3", "2026-10-23"),
        ("FREQ=DAILY;BYDAY=MO,TU,WE,TH,FR", "2026-10-21"),
        ("FREQ=WEEKLY", "2026-10-27"),
        ("FREQ=WEEKLY;BYDAY=MO,FR", "2026-10-23"),
        ("FREQ=WEEKLY;INTERVAL=2", "2026-11-03"),
        ("FREQ=MONTHLY", "2026-11-20"),
        ("FREQ=MONTHLY;BYMONTHDAY=-1", "2026-10-31"),
        ("FREQ=MONTHLY;BYDAY=2TU", "2026-11-10"),
        ("FREQ=MONTHLY;BYDAY=MO,TU,WE,TH,FR;BYSETPOS=-1", "2026-10-30"),
        ("FREQ=YEARLY", "2027-10-20"),
        ("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=29", "2028-02-29"),
        ("FREQ=DAILY;UNTIL=20261021", "2026-10-21"),
        ("FREQ=DAILY;UNTIL=20261021T070000Z", "2026-10-21"),
        ("FREQ=DAILY;UNTIL=20261021T065959Z", None),
        ("FREQ=DAILY;UNTIL=20261020", None),
        ("FREQ=DAILY;COUNT=2", "2026-10-21"),
        ("FREQ=DAILY;COUNT=1", None),
    ],
)
def test_the_next_time_is_the_one_that_the_rule_names(rule: str, expected: str | None) -> None:
    """RFC 5545; the start is the first time, also for COUNT."""
    found = next_time(checked(rule), START, BERLIN, START)
    assert (found.date().isoformat() if found else None) == expected


def test_the_first_time_counts_also_where_the_rule_does_not_name_it() -> None:
    """A task that is due on Tuesday and recurs on Mondays: Tuesday, then Mondays."""
    times = times_of("FREQ=WEEKLY;BYDAY=MO;COUNT=3", START, BERLIN, START)
    assert [time.strftime("%a") for time in times] == ["Tue", "Mon", "Mon"]


@pytest.mark.parametrize(
    "rule",
    [
        "", "FREQ=", "x", "FREQ=HOURLY", "FREQ=SECONDLY;INTERVAL=1", "FREQ=DAILY;INTERVAL=0",
        "FREQ=DAILY;INTERVAL=1001", "FREQ=DAILY;COUNT=10001", "FREQ=DAILY;FREQ=WEEKLY",
        "FREQ=DAILY;COUNT=2;UNTIL=20270101", "FREQ=DAILY;UNTIL=20269999", "FREQ=DAILY;UNTIL=00010101T000000Z",
        "FREQ=WEEKLY;BYDAY=XX", "FREQ=WEEKLY;BYDAY=", "FREQ=WEEKLY;BYDAY=1MO", "FREQ=DAILY;BYHOUR=9",
        "FREQ=DAILY;INTERVAL=7;BYDAY=MO", "FREQ=MONTHLY;BYMONTHDAY=32", "FREQ=MONTHLY;BYDAY=6MO",
        "FREQ=MONTHLY;BYMONTHDAY=1;BYDAY=MO", "FREQ=MONTHLY;BYDAY=MO;BYSETPOS=5",
        "FREQ=MONTHLY;BYSETPOS=1", "FREQ=YEARLY;BYMONTH=13;BYMONTHDAY=1",
        "FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30", "FREQ=YEARLY;BYMONTH=2", "FREQ=YEARLY;BYEASTER=1",
        "FREQ=DAILY\nDTSTART:20200101", "FREQ=YEARLY;BYMONTH=99999999999999999999", "=;=;=", ";;;",
    ],
)  # fmt: skip
def test_what_is_no_rule_is_refused(rule: str) -> None:
    """INVARIANT: no input makes a fault, and the field is named."""
    with pytest.raises(InvalidArgument) as refused:
        checked(rule)
    assert refused.value.reason == "INVALID_RECURRENCE"
    assert refused.value.violations[0].field == "task.recurrence"


@pytest.mark.parametrize(
    "start", [None, datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
def test_what_recurs_has_a_start_that_calendars_know(start: datetime | None) -> None:
    """A time zone knows nothing of the year 1."""
    with pytest.raises(InvalidArgument) as refused:
        checked("FREQ=DAILY", start)
    assert refused.value.violations[0].field == "task.due_time"


@pytest.mark.parametrize(
    "rule",
    [
        "FREQ=YEARLY;INTERVAL=1000", "FREQ=MONTHLY;INTERVAL=12;BYMONTHDAY=31",
        "FREQ=YEARLY;INTERVAL=100;BYMONTH=2;BYMONTHDAY=29", "FREQ=WEEKLY;INTERVAL=1000;BYDAY=MO",
        "FREQ=MONTHLY;INTERVAL=1000;BYDAY=5MO",
    ],
)  # fmt: skip
def test_no_rule_keeps_the_process_busy(rule: str) -> None:
    """INVARIANT: a rule whose next time never comes is given up at once, not in the year 9999."""
    began = process_time()
    next_time(checked(rule), START, BERLIN, START)
    assert process_time() - began < 0.1


def test_the_forms_that_calendars_write_are_understood() -> None:
    """With the name of the property, in lower case, with blanks."""
    assert checked("RRULE:freq=weekly; byday=mo;") == "FREQ=WEEKLY;BYDAY=MO"


def test_a_reminder_moves_along_on_the_wall_clock() -> None:
    """The evening before stays the evening before, although the day between has 25 hours."""
    due, remind = datetime(2026, 10, 19, 7, tzinfo=UTC), datetime(2026, 10, 18, 16, tzinfo=UTC)
    moved = moved_along(remind, due, datetime(2026, 10, 26, 8, tzinfo=UTC), BERLIN)
    assert moved == datetime(2026, 10, 25, 17, tzinfo=UTC)
