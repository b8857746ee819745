"""How one value is converted: wire ↔ attribute ↔ JSON, wherever it stands.

A value that cannot be what its field means raises InvalidArgument naming the field.
"""

import math
import re
import string
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache, partial
from typing import Any
from uuid import UUID

from buf.validate import validate_pb2
from google.api import resource_pb2
from google.protobuf.descriptor import FieldDescriptor

from crmkit import contract
from crmkit.errors import ContractError, InvalidArgument
from crmkit.money import Money, UnitPrice
from crmkit.names import parse_name

# What leaves a text empty: white space, also such as has no width.
BLANK = string.whitespace + "\u00a0\u200b\u200c\u200d\u2028\u2029\u2060\u3000\ufeff"
_LONGEST_LINE = 300
_HARMFUL = re.compile("[\x00-\x08\x0e-\x1f\x7f\u202a-\u202e\u2066-\u2069]")
_LINE_BREAK = re.compile("[\n\r\x0b\x0c\u0085\u2028\u2029]")
# As a person writes it: no exponent, no underscores, no digits of other scripts.
_DECIMAL = re.compile(r"[+-]?[0-9]{1,15}(\.[0-9]{1,4}0*)?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NANOS_PER_SECOND = 1_000_000_000
_KINDS = {
    FieldDescriptor.CPPTYPE_BOOL: "boolean",
    FieldDescriptor.CPPTYPE_DOUBLE: "number",
    FieldDescriptor.CPPTYPE_FLOAT: "number",
}


@dataclass(frozen=True, slots=True)
class Value:
    """Conversion of one value.

    Attributes:
        fill: Writes the value into a submessage, where it is one.
        filter_kind: What filters may do with it; empty for nothing.
        collection: What it refers to, where it is a reference.
    """

    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]
    fill: Callable[[Any, Any], None] | None = None
    filter_kind: str = ""
    filter_values: tuple[str, ...] = ()
    collection: str = ""


def same(value: Any) -> Any:
    """The value, unchanged."""
    return value


def value_of(  # noqa: PLR0911 - one return for each kind
    field: FieldDescriptor, hint: Any, path: str
) -> Value:
    """The conversion of a scalar, a reference or a well-known message, as the hint asks."""
    if field.message_type is not None:
        if hint is UnitPrice:
            return _money(UnitPrice, path)
        return _WELL_KNOWN[field.message_type.full_name](path)
    if field.enum_type is not None:
        return _enum(field, path)
    if hint is UUID:
        return _reference(field, path)
    if field.GetOptions().Extensions[resource_pb2.resource_reference].type == "*":
        return _record_name(field, path)
    if hint is Decimal:
        return Value(_decimal_text, lambda v: _decimal(v, path), str, Decimal)
    if field.type == FieldDescriptor.TYPE_STRING:
        line = is_one_line(field)
        return Value(same, lambda v: text(v, path, one_line=line), same, same, None, "text")
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return Value(same, lambda v: _finite(v, path), same, same, None, "number")
    return Value(same, same, same, same, None, _KINDS.get(field.cpp_type, "integer"))


def is_well_known(field: FieldDescriptor) -> bool:
    """True for a time, a date or an amount of money."""
    return field.message_type is not None and field.message_type.full_name in _WELL_KNOWN


def is_one_line(field: FieldDescriptor) -> bool:
    """True for names, titles and the like: what is short is shown in one line."""
    longest = field.GetOptions().Extensions[validate_pb2.field].string.max_len
    return 0 < longest <= _LONGEST_LINE


def text(value: str, path: str, *, one_line: bool = True) -> str:
    """The text without blanks around it; refuses what nobody types and what deceives readers.

    Control characters break mails, logs and files; bidirectional overrides show a text in another order
    than it is in (CVE-2021-42574).
    """
    if _HARMFUL.search(value):
        msg = f"{path} must not contain control characters."
        raise InvalidArgument(msg, field=path)
    value = value.strip(BLANK)
    if one_line and _LINE_BREAK.search(value):
        msg = f"{path} must be one line."
        raise InvalidArgument(msg, field=path)
    return value


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        msg = f"{path} must be a finite number."
        raise InvalidArgument(msg, field=path)
    return value


def _enum(field: FieldDescriptor, path: str) -> Value:
    assert field.enum_type is not None
    names = {v.number: v.name for v in field.enum_type.values}
    numbers = {v.name: v.number for v in field.enum_type.values}

    def enum_name(number: int) -> str | None:
        if number not in names:
            msg = f"{path} has no value {number}."
            raise InvalidArgument(msg, field=path)
        return names[number] if number else None

    known = tuple(n for n in numbers if numbers[n])
    return Value(numbers.__getitem__, enum_name, same, same, None, "enum", known)


def _reference(field: FieldDescriptor, path: str) -> Value:
    kind = field.GetOptions().Extensions[resource_pb2.resource_reference].type
    target = contract.resources().get(kind)
    if target is None:
        msg = f"{field.full_name}: refers to {kind or 'nothing'}, which is no resource"
        raise ContractError(msg)
    collection = target.collection

    def read(value: str) -> UUID | None:
        return parse_name(value, collection=collection, field=path) if value else None

    @lru_cache(maxsize=1024)  # most records of a page or a batch have the same owner
    def name(value: UUID) -> str:
        return f"{collection}/{value}"

    return Value(
        name, read, str, UUID,
        None, "reference", (collection,), collection,
    )  # fmt: skip


def _record_name(field: FieldDescriptor, path: str) -> Value:
    """A record of one of several kinds, kept by its name."""
    collections = contract.collections_of(field)
    if not collections or not field.is_repeated:
        msg = f"{field.full_name}: names of several kinds are a list, and the option refers_to says of which"
        raise ContractError(msg)

    def read(value: str) -> str:
        collection = value.partition("/")[0]
        if collection not in collections:
            known = ", ".join(f"{c}/{{uuid}}" for c in collections)
            msg = f"{path} holds names of these forms: {known}."
            raise InvalidArgument(msg, field=path)
        parse_name(value, collection=collection, field=path)
        return value

    return Value(same, read, same, same, None, "record_name", collections)


def _decimal(value: str, path: str) -> Decimal:
    if not _DECIMAL.fullmatch(value):
        msg = f"{path} must be a number with at most four decimals."
        raise InvalidArgument(msg, field=path)
    return Decimal(value)


def _decimal_text(value: Decimal) -> str:
    return f"{value:f}"


@lru_cache(maxsize=1024)  # the records of one change share their time
def _seconds_nanos(value: datetime) -> tuple[int, int]:
    delta = value - _EPOCH
    return delta.days * 86400 + delta.seconds, delta.microseconds * 1000


def _timestamp(path: str) -> Value:
    def fill_time(message: Any, value: datetime) -> None:
        message.seconds, message.nanos = _seconds_nanos(value)

    def read_time(message: Any) -> datetime:
        if not 0 <= message.nanos < _NANOS_PER_SECOND:
            msg = f"{path}.nanos must lie between 0 and 999999999."
            raise InvalidArgument(msg, field=path)
        try:
            return _EPOCH + timedelta(seconds=message.seconds, microseconds=message.nanos // 1000)
        except OverflowError:
            msg = f"{path} lies outside the years 1 to 9999."
            raise InvalidArgument(msg, field=path) from None

    return Value(
        same, read_time, datetime.isoformat, datetime.fromisoformat, fill_time, "timestamp"
    )


def _date(path: str) -> Value:
    def fill_date(message: Any, value: date) -> None:
        message.year, message.month, message.day = value.year, value.month, value.day

    def read_date(message: Any) -> date:
        try:
            return date(message.year, message.month, message.day)
        except ValueError:
            msg = f"{path} must be a full calendar date."
            raise InvalidArgument(msg, field=path) from None

    return Value(same, read_date, date.isoformat, date.fromisoformat, fill_date, "date")


def _money(kind: type[Money], path: str) -> Value:
    def fill_money(message: Any, value: Money) -> None:
        message.units, message.nanos = value.units_nanos()
        message.currency_code = value.currency_code

    return Value(
        same,
        lambda m: kind.from_units_nanos(m.units, m.nanos, m.currency_code, path),
        lambda v: {"amount": str(v.amount), "currency_code": v.currency_code},
        lambda v: kind(Decimal(v["amount"]), v["currency_code"]),
        fill_money,
        "money",
    )


_WELL_KNOWN: dict[str, Callable[[str], Value]] = {
    "google.protobuf.Timestamp": _timestamp,
    "google.type.Date": _date,
    "google.type.Money": partial(_money, Money),
}
