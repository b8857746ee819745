"""Recurrence: rules of RFC 5545, section 3.3.10, and the times that they name.

Times are counted on the wall clock of a zone, so that nine o'clock stays nine o'clock when summer begins.
"""

import re
from collections.abc import Iterator
from datetime import UTC, datetime, time, timedelta
from itertools import chain, islice
from zoneinfo import ZoneInfo

from dateutil.rrule import rrule, rrulestr

from crmkit.errors import InvalidArgument
from crmkit.organization import time_zones

# Nobody looks further ahead than this.
_HORIZON = timedelta(days=20 * 366)
YEARS = range(1970, 2200)  # in which what recurs begins, and is looked for
_LAST = datetime(YEARS.stop, 1, 1, tzinfo=UTC)
# What may be said with each frequency: what calendars offer to click. None of it can name a time that never
# comes: the library would look for it until the year 9999, for seconds.
_PARTS = {
    "DAILY": {"BYDAY"},
    "WEEKLY": {"BYDAY"},
    "MONTHLY": {"BYMONTHDAY", "BYDAY", "BYSETPOS"},
    "YEARLY": {"BYMONTH", "BYMONTHDAY", "BYDAY"},
}
_ALWAYS = {"FREQ", "INTERVAL", "COUNT", "UNTIL", "WKST"}
_LARGEST = {"INTERVAL": 1000, "COUNT": 10_000}
_NUMBER = re.compile(r"[1-9][0-9]{0,4}")
_UNTIL = re.compile(r"(19|20|21)[0-9]{6}(T[0-9]{6}Z)?")
_DAY = "(MO|TU|WE|TH|FR|SA|SU)"
_FORMS = {
    "WKST": re.compile(_DAY),
    "BYMONTH": re.compile("([1-9]|1[0-2])"),
    "BYMONTHDAY": re.compile("-?([1-9]|[12][0-9]|3[01])"),
    "BYDAY": re.compile(f"([+-]?[1-5])?{_DAY}"),
    "BYSETPOS": re.compile("-?([1-9]|[12][0-9]|3[01])"),
}
_DAYS = dict(enumerate((31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31), start=1))


def checked_recurrence(text: str, start: datetime | None, *, field: str, start_field: str) -> str:
    """The rule in its usual form.

    Raises:
        InvalidArgument: `INVALID_RECURRENCE`: it is no rule, or one of a kind that is not known here; or
            there is no start for it.
    """
    rule = text.upper().removeprefix("RRULE:").replace(" ", "").strip(";")
    if start is None:
        msg = f"What recurs needs {start_field}."
        raise InvalidArgument(msg, reason="INVALID_RECURRENCE", field=start_field)
    if start.year not in YEARS:
        msg = f"{start_field} must lie in the years {YEARS[0]} to {YEARS[-1]} for what recurs."
        raise InvalidArgument(msg, reason="INVALID_RECURRENCE", field=start_field)
    try:
        _refuse_unknown(_parts(rule))
        next(times_of(rule, start, ZoneInfo("UTC"), start))
    except (ValueError, KeyError, IndexError, TypeError) as error:  # what dateutil raises
        msg = f"{field} is no rule of RFC 5545 that is understood here: {str(error)[:100]}"
        raise InvalidArgument(msg, reason="INVALID_RECURRENCE", field=field) from None
    return rule


def checked_zone(name: str, *, field: str) -> str:
    """The time zone's name; raises InvalidArgument where the IANA database has none of it."""
    if name not in time_zones():
        msg = f"{field}: there is no time zone {name}."
        raise InvalidArgument(msg, field=field)
    return name


def times_of(rule: str, start: datetime, zone: ZoneInfo, since: datetime) -> Iterator[datetime]:
    """The times of a series, in order, up to 20 years after `since`; `start` is always the first."""
    parts = _parts(rule)
    count, until = parts.pop("COUNT", None), parts.pop("UNTIL", None)
    begin, limit = _local(start, zone), _local(min(max(start, since), _LAST) + _HORIZON, zone)
    if until is not None:
        limit = min(limit, _end(until, zone))
    text = ";".join(f"{name}={value}" for name, value in parts.items())
    parsed = rrulestr(text, dtstart=begin)
    assert isinstance(parsed, rrule)  # one rule, not a set
    later = (moment for moment in parsed.replace(until=limit) if moment > begin)
    series = islice(chain([begin], later), int(count) if count else None)
    return (moment.replace(tzinfo=zone).astimezone(UTC) for moment in series)


def next_time(rule: str, start: datetime, zone: ZoneInfo, after: datetime) -> datetime | None:
    """The first time of a series that lies after an instant; None if it ended."""
    return next((moment for moment in times_of(rule, start, zone, after) if moment > after), None)


def moved_along(moment: datetime, old: datetime, new: datetime, zone: ZoneInfo) -> datetime:
    """As far from `new` as `moment` is from `old`, on the wall clock."""
    distance = _local(moment, zone) - _local(old, zone)
    return (_local(new, zone) + distance).replace(tzinfo=zone).astimezone(UTC)


def _parts(rule: str) -> dict[str, str]:
    pairs = [part.partition("=") for part in rule.split(";")]
    parts = {name: value for name, _, value in pairs}
    if len(parts) < len(pairs):
        msg = "it says something twice"
        raise ValueError(msg)
    return parts


def _refuse_unknown(parts: dict[str, str]) -> None:
    possible = _PARTS.get(parts.get("FREQ", ""))
    if possible is None:
        msg = f"FREQ is one of {', '.join(_PARTS)}"
        raise ValueError(msg)
    if unknown := sorted(parts.keys() - _ALWAYS - possible):
        msg = f"{unknown[0]} is not possible with FREQ={parts['FREQ']}"
        raise ValueError(msg)
    if "COUNT" in parts and "UNTIL" in parts:
        msg = "COUNT and UNTIL exclude one another"
        raise ValueError(msg)
    for name, largest in _LARGEST.items():
        value = parts.get(name)
        if value is not None and not (_NUMBER.fullmatch(value) and int(value) <= largest):
            msg = f"{name} lies between 1 and {largest}"
            raise ValueError(msg)
    for name, form in _FORMS.items():
        if name in parts and not all(form.fullmatch(item) for item in parts[name].split(",")):
            msg = f"{name} cannot be {parts[name]}"
            raise ValueError(msg)
    _refuse_contradictions(parts)


def _refuse_contradictions(parts: dict[str, str]) -> None:
    """Raises ValueError where no day could ever be meant."""
    days = parts["BYDAY"].split(",") if "BYDAY" in parts else []
    weekly = parts["FREQ"] in {"DAILY", "WEEKLY"}
    if weekly and any(len(day) > len("MO") for day in days):
        msg = "BYDAY counts days, as in 1MO, in a month or a year only"
        raise ValueError(msg)
    if parts["FREQ"] == "DAILY" and days and parts.get("INTERVAL", "1") != "1":
        msg = "BYDAY goes with every day, or with FREQ=WEEKLY"
        raise ValueError(msg)
    if "BYMONTHDAY" in parts and days:
        msg = "BYMONTHDAY and BYDAY exclude one another"
        raise ValueError(msg)
    counted = sum(1 if len(day) > len("MO") else 4 for day in days)
    if "BYSETPOS" in parts and any(abs(int(n)) > counted for n in parts["BYSETPOS"].split(",")):
        msg = "BYSETPOS chooses among the days of BYDAY"
        raise ValueError(msg)
    if "BYMONTH" in parts and not days:
        longest = max(_DAYS[int(month)] for month in parts["BYMONTH"].split(","))
        in_month = parts.get("BYMONTHDAY", "99").split(",")
        if all(abs(int(day)) > longest for day in in_month):
            msg = "BYMONTH needs BYMONTHDAY, a day that such a month has, or BYDAY"
            raise ValueError(msg)


def _end(until: str, zone: ZoneInfo) -> datetime:
    if not _UNTIL.fullmatch(until):
        msg = "UNTIL is a date, 20261231, or a time in UTC, 20261231T120000Z"
        raise ValueError(msg)
    if "T" in until:
        return _local(datetime.strptime(until, "%Y%m%dT%H%M%S%z"), zone)
    day = datetime.strptime(until, "%Y%m%d").date()  # noqa: DTZ007 - a day of the zone's calendar
    return datetime.combine(day, time.max)


def _local(moment: datetime, zone: ZoneInfo) -> datetime:
    """The wall clock of a zone."""
    return moment.astimezone(zone).replace(tzinfo=None)
