"""How one field is converted between message, attribute, column and JSON.

The attribute's type hint decides: UUID for a reference, Decimal for a decimal string, Money, datetime,
date, a dataclass for a nested message, list[…] of any of these, dict[str, str] for a map.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal, InvalidOperation
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from crm.options.v1 import options_pb2
from google.api import field_behavior_pb2, resource_pb2
from google.protobuf.descriptor import FieldDescriptor
from psycopg.types.json import Jsonb

from crmkit import contract
from crmkit.errors import ContractError, InvalidArgument
from crmkit.money import Money
from crmkit.names import parse_name

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_READ_ONLY = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}


@dataclass(frozen=True, slots=True)
class Reference:
    """A record that a field refers to; `path` names the field for errors."""

    collection: str
    id: UUID
    path: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """How one value travels.

    Attributes:
        put: Sets the value on a message.
        take: Reads it from a message.
        to_json: What is kept inside a jsonb column.
        from_json: The way back.
        filter_kind: What filters may do with it; empty for nothing.
    """

    put: Callable[[Any, Any], None]
    take: Callable[[Any], Any]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]
    filter_kind: str = ""
    filter_values: tuple[str, ...] = ()
    collection: str = ""


@dataclass(frozen=True, slots=True)
class FieldCodec:
    """One field of a resource, compiled."""

    name: str
    column_names: tuple[str, ...]
    write: Callable[[Any, Any], None]
    read: Callable[[Any], Any]
    store: Callable[[dict[str, Any], Any], None]
    load: Callable[..., Any] | None
    references: Callable[[Any], list[Reference]]
    writable: bool
    immutable: bool
    required: bool
    personal: bool
    personal_if: tuple[str, str] | None
    filter_kind: str
    filter_values: tuple[str, ...]


def is_stored(field: FieldDescriptor) -> bool:
    """False for what only comes in: a password."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.INPUT_ONLY not in behaviors


def compile_field(field: FieldDescriptor, hint: Any, resource: str) -> FieldCodec:  # noqa: ANN401
    """Compiles a field of the resource whose singular is `resource`; the hint is its attribute's."""
    if hint is None:
        msg = f"{field.full_name}: the entity has no such attribute"
        raise ContractError(msg)
    options = field.GetOptions()
    behaviors = options.Extensions[field_behavior_pb2.field_behavior]
    condition = options.Extensions[options_pb2.personal_if].partition("=")
    path = f"{resource}.{field.name}"
    conversion = _conversion(field, hint, path)
    columns, store, load = _storage(field, conversion)
    return FieldCodec(
        name=field.name,
        column_names=columns,
        write=conversion.put,
        read=conversion.take,
        store=store,
        load=load,
        references=_references(field, conversion, hint, path),
        writable=not _READ_ONLY & set(behaviors),
        immutable=field_behavior_pb2.IMMUTABLE in behaviors,
        required=field_behavior_pb2.REQUIRED in behaviors,
        personal=options.Extensions[options_pb2.personal],
        personal_if=(condition[0], condition[2]) if condition[0] else None,
        filter_kind=conversion.filter_kind,
        filter_values=conversion.filter_values,
    )


def _is_json(field: FieldDescriptor) -> bool:
    if field.message_type is not None:
        plain = {"google.protobuf.Timestamp", "google.type.Date", "google.type.Money"}
        return field.is_repeated or field.message_type.full_name not in plain
    return False


def _storage(
    field: FieldDescriptor, conversion: Conversion
) -> tuple[tuple[str, ...], Callable[[dict[str, Any], Any], None], Callable[..., Any] | None]:
    name = field.name
    if _is_json(field):

        def store_json(row: dict[str, Any], value: Any) -> None:  # noqa: ANN401
            row[name] = None if value is None else Jsonb(conversion.to_json(value))

        return (name,), store_json, lambda v: None if v is None else conversion.from_json(v)
    if field.message_type is not None and field.message_type.full_name == "google.type.Money":
        currency = f"{name}_currency"

        def store_money(row: dict[str, Any], value: Money | None) -> None:
            row[name] = None if value is None else value.amount
            row[currency] = None if value is None else value.currency_code

        return (name, currency), store_money, lambda a, c: None if a is None else Money(a, c)

    def store(row: dict[str, Any], value: Any) -> None:  # noqa: ANN401
        row[name] = value

    return (name,), store, None


def _references(
    field: FieldDescriptor, conversion: Conversion, hint: Any, path: str  # noqa: ANN401
) -> Callable[[Any], list[Reference]]:
    if conversion.collection:
        collection = conversion.collection

        def direct(value: Any) -> list[Reference]:  # noqa: ANN401
            ids = value if isinstance(value, list) else [value]
            return [Reference(collection, i, path) for i in ids if i is not None]

        return direct
    item = _inner(hint)
    if field.is_repeated and is_dataclass(item):
        nested = [
            (f.name, c)
            for f, c in _nested_conversions(field, item, path)
            if c.collection
        ]

        def in_items(value: Any) -> list[Reference]:  # noqa: ANN401
            return [
                Reference(c.collection, getattr(entry, name), f"{path}[{i}].{name}")
                for i, entry in enumerate(value or [])
                for name, c in nested
                if getattr(entry, name) is not None
            ]

        return in_items
    return lambda _value: []


def _optional(hint: Any) -> Any:  # noqa: ANN401
    """`X` of `X | None`."""
    if get_origin(hint) in {types.UnionType, Union}:
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def _inner(hint: Any) -> Any:  # noqa: ANN401
    """The item type of `list[X]`."""
    hint = _optional(hint)
    return get_args(hint)[0] if get_origin(hint) is list else hint


def _conversion(field: FieldDescriptor, hint: Any, path: str) -> Conversion:  # noqa: ANN401
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map(field.name, path)
    value = _value_conversion(field, _inner(hint), path)
    return _repeated(field, value) if field.is_repeated else _single(field, value)


@dataclass(frozen=True, slots=True)
class _Value:
    """Conversion of one value, wherever it stands: wire ↔ attribute ↔ JSON."""

    to_wire: Callable[[Any], Any]
    from_wire: Callable[[Any], Any]
    to_json: Callable[[Any], Any]
    from_json: Callable[[Any], Any]
    fill: Callable[[Any, Any], None] | None = None  # writes into a submessage
    filter_kind: str = ""
    filter_values: tuple[str, ...] = ()
    collection: str = ""


def _same(value: Any) -> Any:  # noqa: ANN401
    return value


def _single(field: FieldDescriptor, value: _Value) -> Conversion:
    name, has_presence, fill = field.name, field.has_presence, value.fill
    from_wire, to_wire = value.from_wire, value.to_wire

    def put(message: Any, item: Any) -> None:  # noqa: ANN401
        if fill is not None:
            fill(getattr(message, name), item)
        else:
            setattr(message, name, to_wire(item))

    def take(message: Any) -> Any:  # noqa: ANN401
        if has_presence and not message.HasField(name):
            return None
        return from_wire(getattr(message, name))

    return Conversion(
        put, take, value.to_json, value.from_json,
        value.filter_kind, value.filter_values, value.collection,
    )  # fmt: skip


def _repeated(field: FieldDescriptor, value: _Value) -> Conversion:
    name, fill = field.name, value.fill

    def put(message: Any, items: Any) -> None:  # noqa: ANN401
        target = getattr(message, name)
        if fill is not None:
            for item in items:
                fill(target.add(), item)
        else:
            target.extend([value.to_wire(item) for item in items])

    def take(message: Any) -> Any:  # noqa: ANN401
        return [value.from_wire(item) for item in getattr(message, name)]

    kind = {"reference": "references"}.get(value.filter_kind, "json_list" if fill else "")
    return Conversion(
        put,
        take,
        lambda items: [value.to_json(item) for item in items],
        lambda items: [value.from_json(item) for item in items],
        kind,
        value.filter_values,
        value.collection,
    )


def _map(name: str, path: str) -> Conversion:
    def put(message: Any, items: dict[str, str]) -> None:  # noqa: ANN401
        getattr(message, name).update(items)

    def take(message: Any) -> dict[str, str]:  # noqa: ANN401
        return {_text(k, path): _text(v, path) for k, v in getattr(message, name).items()}

    return Conversion(put, take, dict, dict, "labels")


def _text(value: str, path: str) -> str:
    if "\x00" in value:
        msg = f"{path} must not contain NUL characters."
        raise InvalidArgument(msg, field=path)
    return value


def _value_conversion(field: FieldDescriptor, hint: Any, path: str) -> _Value:  # noqa: ANN401
    if field.message_type is not None:
        return _message_value(field, hint, path)
    if field.enum_type is not None:
        names = {v.number: v.name for v in field.enum_type.values}
        numbers = {v.name: v.number for v in field.enum_type.values}

        def enum_name(number: int) -> str | None:
            if number not in names:
                msg = f"{path} has no value {number}."
                raise InvalidArgument(msg, field=path)
            return names[number] if number else None

        known = tuple(n for n in numbers if numbers[n])
        return _Value(numbers.__getitem__, enum_name, _same, _same, None, "enum", known)
    if hint is UUID:
        return _reference_value(field, path)
    if hint is Decimal:
        return _Value(_decimal_text, lambda v: _decimal(v, path), str, Decimal, None, "")
    if field.type == FieldDescriptor.TYPE_STRING:
        return _Value(_same, lambda v: _text(v, path), _same, _same, None, "text")
    kinds = {
        FieldDescriptor.CPPTYPE_BOOL: "boolean",
        FieldDescriptor.CPPTYPE_DOUBLE: "number",
        FieldDescriptor.CPPTYPE_FLOAT: "number",
    }
    return _Value(_same, _same, _same, _same, None, kinds.get(field.cpp_type, "integer"))


def _reference_value(field: FieldDescriptor, path: str) -> _Value:
    kind = field.GetOptions().Extensions[resource_pb2.resource_reference].type
    target = contract.resources().get(kind)
    if target is None:
        msg = f"{field.full_name}: refers to {kind or 'nothing'}, which is no resource"
        raise ContractError(msg)
    collection = target.collection

    def read(value: str) -> UUID | None:
        return parse_name(value, collection=collection, field=path) if value else None

    return _Value(
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


def _message_value(field: FieldDescriptor, hint: Any, path: str) -> _Value:  # noqa: ANN401
    kind = field.message_type.full_name
    if kind == "google.protobuf.Timestamp":

        def fill_time(message: Any, value: datetime) -> None:  # noqa: ANN401
            delta = value - _EPOCH
            message.seconds = delta.days * 86400 + delta.seconds
            message.nanos = delta.microseconds * 1000

        def read_time(message: Any) -> datetime:  # noqa: ANN401
            try:
                return _EPOCH + timedelta(
                    seconds=message.seconds, microseconds=message.nanos // 1000
                )
            except OverflowError:
                msg = f"{path} lies outside the years 1 to 9999."
                raise InvalidArgument(msg, field=path) from None

        return _Value(
            _same, read_time, datetime.isoformat, datetime.fromisoformat, fill_time, "timestamp"
        )
    if kind == "google.type.Date":

        def fill_date(message: Any, value: date) -> None:  # noqa: ANN401
            message.year, message.month, message.day = value.year, value.month, value.day

        def read_date(message: Any) -> date:  # noqa: ANN401
            try:
                return date(message.year, message.month, message.day)
            except ValueError:
                msg = f"{path} must be a full calendar date."
                raise InvalidArgument(msg, field=path) from None

        return _Value(_same, read_date, date.isoformat, date.fromisoformat, fill_date, "date")
    if kind == "google.type.Money":

        def fill_money(message: Any, value: Money) -> None:  # noqa: ANN401
            message.units, message.nanos = value.units_nanos()
            message.currency_code = value.currency_code

        return _Value(
            _same,
            lambda m: Money.from_units_nanos(m.units, m.nanos, m.currency_code, path),
            lambda v: {"amount": str(v.amount), "currency_code": v.currency_code},
            lambda v: Money(Decimal(v["amount"]), v["currency_code"]),
            fill_money,
            "money",
        )
    if not is_dataclass(hint):
        msg = f"{field.full_name}: the attribute must be a dataclass, not {hint}"
        raise ContractError(msg)
    return _nested_value(field, hint, path)


def _nested_conversions(
    field: FieldDescriptor, hint: Any, path: str  # noqa: ANN401
) -> list[tuple[FieldDescriptor, Conversion]]:
    hints = get_type_hints(hint)
    by_name = field.message_type.fields_by_name
    if set(by_name) != {f.name for f in fields(hint)}:
        msg = f"{field.message_type.full_name}: fields differ from those of {hint.__name__}"
        raise ContractError(msg)
    return [(by_name[n], _conversion(by_name[n], hints[n], f"{path}.{n}")) for n in by_name]


def _nested_value(field: FieldDescriptor, hint: Any, path: str) -> _Value:  # noqa: ANN401
    parts = [(f.name, c) for f, c in _nested_conversions(field, hint, path)]

    def fill(message: Any, value: Any) -> None:  # noqa: ANN401
        for name, conversion in parts:
            item = getattr(value, name)
            if item is not None:
                conversion.put(message, item)

    def read(message: Any) -> Any:  # noqa: ANN401
        return hint(**{name: conversion.take(message) for name, conversion in parts})

    def to_json(value: Any) -> dict[str, Any]:  # noqa: ANN401
        found = ((name, c, getattr(value, name)) for name, c in parts)
        return {name: c.to_json(item) for name, c, item in found if item is not None}

    def from_json(value: dict[str, Any]) -> Any:  # noqa: ANN401
        return hint(
            **{
                name: c.from_json(value[name]) if value.get(name) is not None else None
                for name, c in parts
            }
        )

    return _Value(
        _same, read, to_json, from_json, fill, filter_values=tuple(name for name, _ in parts)
    )
