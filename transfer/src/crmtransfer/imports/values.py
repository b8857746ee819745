"""From the text of a cell to the value of a field."""

import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, tzinfo
from decimal import Decimal, InvalidOperation
from typing import Any

from google.protobuf.descriptor import FieldDescriptor

from crmtransfer.formulas import bare
from crmtransfer.regions import region_code

_BOOLEANS = {
    **dict.fromkeys(("true", "yes", "y", "1", "on"), True),
    **dict.fromkeys(("false", "no", "n", "0", "off"), False),
}
_DECIMAL = re.compile(r"[+-]?(\d{1,30}(\.\d{0,30})?|\.\d{1,30})", re.ASCII)
_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3}){1,9}(\.\d{0,30})?", re.ASCII)
_NANOS = Decimal(10) ** 9
_INT64 = 2**63
_INT32 = 2**31
_SHOWN_CHARS = 60
_REGION = "region_code"  # what a country's code is called in every contract

Read = Callable[[str], Any]


class BadValue(Exception):  # noqa: N818 - an outcome of the row, like a failure
    """A cell whose text cannot be what its field means.

    Attributes:
        reason: UPPER_SNAKE, for programs.
        message: For a person.
    """

    def __init__(self, message: str, reason: str = "INVALID_VALUE") -> None:
        super().__init__(message)
        self.message = message
        self.reason = reason


def shown(text: str) -> str:
    """The text as a message shows it: quoted and short."""
    return repr(text if len(text) <= _SHOWN_CHARS else text[:_SHOWN_CHARS] + "…")


def scalar_reader(field: FieldDescriptor) -> Read:
    """Reads a number, a truth value, an enum's value by its name, a country, or text."""
    if field.enum_type is not None:
        return _enum_reader(field)
    if field.name == _REGION:
        return read_region
    readers: dict[int, Read] = {
        FieldDescriptor.CPPTYPE_BOOL: read_bool,
        FieldDescriptor.CPPTYPE_DOUBLE: read_float,
        FieldDescriptor.CPPTYPE_FLOAT: read_float,
        FieldDescriptor.CPPTYPE_INT32: lambda text: read_integer(text, _INT32),
        FieldDescriptor.CPPTYPE_INT64: lambda text: read_integer(text, _INT64),
    }
    return readers.get(field.cpp_type, read_text)


def read_text(text: str) -> str:
    """Text as it stands, without the apostrophe that guards it from being a formula."""
    return bare(text)


def _enum_reader(field: FieldDescriptor) -> Read:
    values = [v for v in field.enum_type.values if v.number] if field.enum_type else []
    numbers = {v.name.casefold(): v.number for v in values}
    known = ", ".join(v.name for v in values)

    def read(text: str) -> int:
        number = numbers.get(text.replace(" ", "_").casefold())
        if number is None:
            msg = f"{shown(text)} is not one of {known}."
            raise BadValue(msg)
        return number

    return read


def read_bool(text: str) -> bool:
    """`true`, `yes`, `1`, `on` and their opposites, in any case."""
    value = _BOOLEANS.get(text.casefold())
    if value is None:
        msg = f"{shown(text)} is not true or false."
        raise BadValue(msg)
    return value


def read_decimal(text: str) -> Decimal:
    """A decimal with a point: `550`, `1234.5`, `1,234.50`; never an exponent."""
    plain = text.replace(",", "") if _GROUPED.fullmatch(text) else text
    if not _DECIMAL.fullmatch(plain):
        msg = f"{shown(text)} is not a number."
        raise BadValue(msg)
    return Decimal(plain)


def read_float(text: str) -> float:
    """A finite number; `12%` is 0.12."""
    percent = text.endswith("%")
    try:
        value = float(read_decimal(text[:-1].strip())) / 100 if percent else float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        msg = f"{shown(text)} is not a number."
        raise BadValue(msg)
    return value


def read_integer(text: str, limit: int) -> int:
    """A whole number; `1,200` and `12.0` are."""
    value = read_decimal(text)
    if value != value.to_integral_value() or not -limit <= value < limit:
        msg = f"{shown(text)} is not a whole number of this size."
        raise BadValue(msg)
    return int(value)


def read_date(text: str) -> date:
    """A date, `2017-03-01`; a time after it is ignored."""
    try:
        return date.fromisoformat(text[:10]) if text[10:11] in {"", "T", " "} else _bad_date(text)
    except ValueError:
        return _bad_date(text)


def _bad_date(text: str) -> date:
    msg = f"{shown(text)} is not a date such as 2017-03-01."
    raise BadValue(msg)


def read_time(text: str, zone: tzinfo = UTC) -> datetime:
    """An instant, RFC 3339; a bare date is its first instant; what names no zone is of this one."""
    try:
        value = datetime.fromisoformat(text)
    except ValueError:
        msg = f"{shown(text)} is not a time such as 2017-03-01T12:00:00Z, or a date."
        raise BadValue(msg) from None
    return value if value.tzinfo else value.replace(tzinfo=zone)


def write_time(message: Any, text: str, *, zone: tzinfo = UTC) -> None:
    """Fills a google.protobuf.Timestamp."""
    try:
        message.FromDatetime(read_time(text, zone).astimezone(UTC))
    except (OverflowError, ValueError):
        msg = f"{shown(text)} lies outside the years 1 to 9999."
        raise BadValue(msg) from None


def write_date(message: Any, text: str) -> None:
    """Fills a google.type.Date."""
    value = read_date(text)
    message.year, message.month, message.day = value.year, value.month, value.day


def write_amount(message: Any, text: str) -> None:
    """Fills units and nanos of a google.type.Money."""
    try:
        nanos = int((read_decimal(text) * _NANOS).to_integral_exact())
    except InvalidOperation:
        nanos = _INT64 * int(_NANOS)
    units, rest = divmod(abs(nanos), int(_NANOS))
    if units >= _INT64:
        msg = f"{shown(text)} is too large an amount."
        raise BadValue(msg)
    sign = -1 if nanos < 0 else 1
    message.units, message.nanos = sign * units, sign * rest


def read_currency(text: str) -> str:
    """A currency code of ISO 4217, in any case."""
    return text.upper()


def read_region(text: str) -> str:
    """A country: its code of ISO 3166-1, or its name in one of many languages."""
    code = region_code(bare(text))
    if code is None:
        msg = f"{shown(text)} is no country, nor the code of one."
        raise BadValue(msg)
    return code
