"""The work log: the day or week that somebody asks about, in the organisation's time zone."""

from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from crmkit.errors import InvalidArgument

_DAYS = ("MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY", "SATURDAY", "SUNDAY")
_YEARS = range(1970, 9999)


def period_of(day: date, period: str, zone: ZoneInfo, first_day: str) -> tuple[datetime, datetime]:
    """The first instant of a day, or of the week that it lies in, and the first one after it.

    Args:
        day: A day of the organisation's calendar.
        period: DAY or WEEK.
        zone: The organisation's time zone.
        first_day: The day with which its weeks begin: MONDAY.

    Raises:
        InvalidArgument: The day lies where time zones end.
    """
    if day.year not in _YEARS:
        msg = f"The day must lie in the years {_YEARS[0]} to {_YEARS[-1]}."
        raise InvalidArgument(msg, field="date")
    length = timedelta(days=1)
    if period == "WEEK":
        day -= timedelta(days=(day.weekday() - _DAYS.index(first_day)) % 7)
        length = timedelta(days=7)
    return _midnight(day, zone), _midnight(day + length, zone)


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime.combine(day, time.min, zone).astimezone(UTC)
