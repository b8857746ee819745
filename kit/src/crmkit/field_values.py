"""How one value is converted: wire ↔ attribute ↔ JSON, wherever it stands.

A value that cannot be what its field means raises InvalidArgument naming the field.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any
from uuid import UUID

from google.api import resource_pb2
from google.protobuf.descriptor import FieldDescriptor

from crmkit import contract
from crmkit.errors import ContractError, InvalidArgument
from crmkit.money import Money, UnitPrice
from crmkit.names import parse_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
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
    if hint is Decimal:
        return Value(_decimal_text, lambda v: _decimal(v, path), str, Decimal)
    if field.type == FieldDescriptor.TYPE_STRING:
        return Value(same, lambda v: text(v, path), same, same, None, "text")
    if field.cpp_type == FieldDescriptor.CPPTYPE_DOUBLE:
        return Value(same, lambda v: _finite(v, path), same, same, None, "number")
    return Value(same, same, same, same, None, _KINDS.get(field.cpp_type, "integer"))


def is_well_known(field: FieldDescriptor) -> bool:
    """True for a time, a date or an amount of money."""
    return field.message_type is not None and field.message_type.full_name in _WELL_KNOWN


def text(value: str, path: str) -> str:
    """The text itself; NUL cannot be stored."""
    if "\x00" in value:
        msg = f"{path} must not contain NUL characters."
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

    return Value(
        lambda value: f"{collection}/{value}", read, str, UUID,
        None, "reference", (collection,), collection,
    )  # fmt: skip


def _decimal(value: str, path: str) -> Decimal:
    try:
        number = Decimal(value)
    except InvalidOperation:
        number = Decimal("NaN")
    if not number.is_finite() or abs(number) >= Decimal(10) ** 15 or number != round(number, 4):
        msg = f"{path} must be a number with at most four decimals."
        raise InvalidArgument(msg, field=path)
    return number


def _decimal_text(value: Decimal) -> str:
    return f"{value:f}"


def _timestamp(path: str) -> Value:
    def fill_time(message: Any, value: datetime) -> None:
        delta = value - _EPOCH
        message.seconds = delta.days * 86400 + delta.seconds
        message.nanos = delta.microseconds * 1000

    def read_time(message: Any) -> datetime:
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
