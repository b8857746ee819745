"""The values of filters: text to a typed SQL parameter that the database is sure to accept."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, tzinfo
from decimal import Decimal
from typing import Any, TypeAlias

import sqlalchemy as sa

from crmkit.errors import InvalidArgument
from crmkit.filter_grammar import Term, invalid_filter
from crmkit.names import parse_name

Parser: TypeAlias = Callable[[Term, tuple[str, ...], tzinfo], sa.BindParameter[Any]]

_NUMBER = re.compile(r"[+-]?[0-9]{1,30}(\.[0-9]{1,30})?([eE][+-]?[0-9]{1,2})?", re.ASCII)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}", re.ASCII)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_MONTH = re.compile(r"[0-9]{4}-(0[1-9]|1[0-2])", re.ASCII)
_TIMESTAMP = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?"
    r"([Zz]|[+-][0-9]{2}:[0-9]{2})",
    re.ASCII,
)
_MAX_INTEGER = 2**63


def _number(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    # Without the column's precision: the database must compare 0.00001 and not round it.
    text = _matching(term, _NUMBER, "a number such as 12.5")
    return sa.literal(Decimal(text), sa.Numeric())


def _integer(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    number = int(_matching(term, _INTEGER, "a whole number"))
    if not -_MAX_INTEGER <= number < _MAX_INTEGER:
        raise _mismatch(term, "a whole number of 64 bits")
    return sa.literal(number, sa.BigInteger())


def _boolean(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    if term.prefix or term.text not in ("true", "false"):
        raise _mismatch(term, "true or false")
    return sa.literal(term.text == "true", sa.Boolean())


def _timestamp(term: Term, _values: tuple[str, ...], zone: tzinfo) -> sa.BindParameter[Any]:
    form = 'a time such as "2026-01-31T09:00:00Z", or a date'
    try:
        if _DATE.fullmatch(term.text) and not term.prefix:
            moment = datetime.combine(date.fromisoformat(term.text), time.min, zone)
        else:
            moment = datetime.fromisoformat(_matching(term, _TIMESTAMP, form).upper())
        return sa.literal(moment.astimezone(UTC), sa.TIMESTAMP(timezone=True))
    except (ValueError, OverflowError):
        raise _mismatch(term, form) from None


def _date(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    return sa.literal(_date_of(term), sa.Date())


def _month(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    return sa.literal(_matching(term, _MONTH, 'a month such as "2026-01"'), sa.Text())


def _day(term: Term, _values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    return sa.literal(_date_of(term).isoformat(), sa.Text())


def _enum(term: Term, values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    if term.prefix or term.text not in values:
        shown = ", ".join(values[:20]) + (" …" if len(values) > 20 else "")  # noqa: PLR2004
        raise _mismatch(term, f"one of {shown}")
    return sa.literal(term.text, sa.Text())


def _reference(term: Term, values: tuple[str, ...], _zone: tzinfo) -> sa.BindParameter[Any]:
    (collection,) = values
    name = term.text + "*" * term.prefix
    try:
        id_ = parse_name(name, collection=collection, field="filter")
    except InvalidArgument:
        raise _mismatch(term, f'a name of {collection}, such as "{collection}/…"') from None
    return sa.literal(id_, sa.Uuid())


def _date_of(term: Term) -> date:
    form = 'a date such as "2026-01-31"'
    try:
        return date.fromisoformat(_matching(term, _DATE, form))
    except ValueError:
        raise _mismatch(term, form) from None


def _matching(term: Term, pattern: re.Pattern[str], form: str) -> str:
    """Returns the value if it has the form."""
    if term.prefix or not pattern.fullmatch(term.text):
        raise _mismatch(term, form)
    return term.text


def _mismatch(term: Term, form: str) -> InvalidArgument:
    return invalid_filter(f"{'.'.join(term.path)} is compared with {form}", term.position)


PARSERS: Mapping[str, Parser] = {
    "number": _number,
    "integer": _integer,
    "boolean": _boolean,
    "timestamp": _timestamp,
    "date": _date,
    "month": _month,
    "day": _day,
    "enum": _enum,
    "reference": _reference,
}
