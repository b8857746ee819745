"""The day and the week of the work log."""

from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from crmkit.errors import InvalidArgument
from customer.domain.work_log import period_of

BERLIN = ZoneInfo("Europe/Berlin")
WEDNESDAY = date(2026, 11, 25)


def test_a_day_begins_at_midnight_of_the_organisation() -> None:
    start, end = period_of(WEDNESDAY, "DAY", ZoneInfo("Asia/Shanghai"), "MONDAY")
    assert start == datetime(2026, 11, 24, 16, tzinfo=UTC)
    assert end == datetime(2026, 11, 25, 16, tzinfo=UTC)


def test_the_day_on_which_winter_begins_has_25_hours() -> None:
    start, end = period_of(date(2026, 10, 25), "DAY", BERLIN, "MONDAY")
    assert (end - start).total_seconds() == 25 * 3600


@pytest.mark.parametrize(
    ("first_day", "first", "last"),
    [("MONDAY", 23, 29), ("SUNDAY", 22, 28), ("SATURDAY", 21, 27), ("WEDNESDAY", 25, 31)],
)
def test_a_week_begins_with_the_organisations_first_day(
    first_day: str, first: int, last: int
) -> None:
    """Every day of it is in the same week."""
    utc = ZoneInfo("UTC")
    start, end = period_of(WEDNESDAY, "WEEK", utc, first_day)
    assert (start.day, (end - start).days) == (first, 7)
    for day in range(first, min(last, 30) + 1):
        assert period_of(date(2026, 11, day), "WEEK", utc, first_day) == (start, end)


@pytest.mark.parametrize("year", [1, 1969, 9999])
def test_a_day_where_time_zones_end_is_refused(year: int) -> None:
    with pytest.raises(InvalidArgument):
        period_of(date(year, 1, 1), "WEEK", BERLIN, "MONDAY")
