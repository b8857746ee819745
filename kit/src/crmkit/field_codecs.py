"""How one field is converted between message, attribute, column and JSON.

The attribute's type hint decides: UUID for a reference, Decimal for a decimal string, Money, UnitPrice,
datetime, date, a dataclass for a nested message, list[…] of any of these, dict[str, str] for a map.
"""

import types
from collections.abc import Callable
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, Union, get_args, get_origin, get_type_hints
from uuid import UUID

from google.api import field_behavior_pb2
from google.protobuf.descriptor import FieldDescriptor
from psycopg.types.json import Jsonb

from crm.options.v1 import options_pb2
from crmkit.errors import ContractError
from crmkit.field_structs import Conversion, struct_conversion
from crmkit.field_values import Value, is_well_known, same, text, value_of
from crmkit.money import Money, UnitPrice
from crmkit.names import parse_name

_READ_ONLY = {field_behavior_pb2.OUTPUT_ONLY, field_behavior_pb2.IDENTIFIER}


@dataclass(frozen=True, slots=True)
class Reference:
    """A record that a field refers to; `path` names the field for errors."""

    collection: str
    id: UUID
    path: str


@dataclass(frozen=True, slots=True)
class FieldCodec:
    """One field of a resource, compiled."""

    name: str
    column_names: tuple[str, ...]
    write: Callable[[Any, Any], None]
    read: Callable[[Any], Any]
    store: Callable[[dict[str, Any], Any], None]
    load: Callable[..., Any] | None
    from_json: Callable[[Any], Any]
    references: Callable[[Any], list[Reference]] | None
    writable: bool
    immutable: bool
    required: bool
    personal: bool
    personal_if: tuple[str, str] | None
    filter_kind: str
    filter_values: tuple[str, ...]
    pick_list: str


def is_stored(field: FieldDescriptor) -> bool:
    """False for what only comes in: a password."""
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    return field_behavior_pb2.INPUT_ONLY not in behaviors


def compile_field(field: FieldDescriptor, hint: Any, resource: str) -> FieldCodec:
    """Compiles a field of the resource with this singular; `hint` is its attribute's type."""
    if hint is None:
        msg = f"{field.full_name}: the entity has no such attribute"
        raise ContractError(msg)
    options = field.GetOptions()
    behaviors = options.Extensions[field_behavior_pb2.field_behavior]
    condition = options.Extensions[options_pb2.personal_if].partition("=")
    path = f"{resource}.{field.name}"
    conversion = _conversion(field, hint, path)
    columns, store, load = _storage(field, conversion, _optional(hint))
    return FieldCodec(
        name=field.name,
        column_names=columns,
        write=conversion.put,
        read=conversion.take,
        store=store,
        load=load,
        from_json=conversion.from_json,
        references=_references(field, conversion, hint, path),
        writable=not _READ_ONLY & set(behaviors),
        immutable=field_behavior_pb2.IMMUTABLE in behaviors,
        required=field_behavior_pb2.REQUIRED in behaviors,
        personal=options.Extensions[options_pb2.personal],
        personal_if=(condition[0], condition[2]) if condition[0] else None,
        filter_kind=conversion.filter_kind,
        filter_values=conversion.filter_values,
        pick_list=options.Extensions[options_pb2.pick_list],
    )


def _is_json(field: FieldDescriptor) -> bool:
    return field.message_type is not None and (field.is_repeated or not is_well_known(field))


def _storage(
    field: FieldDescriptor, conversion: Conversion, hint: Any
) -> tuple[tuple[str, ...], Callable[[dict[str, Any], Any], None], Callable[..., Any] | None]:
    name = field.name
    if _is_json(field):

        def store_json(row: dict[str, Any], value: Any) -> None:
            row[name] = None if value is None else Jsonb(conversion.to_json(value))

        return (name,), store_json, lambda v: v if v is None or v == [] else conversion.from_json(v)
    if field.message_type is not None and field.message_type.full_name == "google.type.Money":
        currency = f"{name}_currency"

        kind = UnitPrice if hint is UnitPrice else Money

        def store_money(row: dict[str, Any], value: Money | None) -> None:
            row[name] = None if value is None else value.amount
            row[currency] = None if value is None else value.currency_code

        return (name, currency), store_money, lambda a, c: None if a is None else kind(a, c)

    def store(row: dict[str, Any], value: Any) -> None:
        row[name] = value

    return (name,), store, None


def _references(
    field: FieldDescriptor, conversion: Conversion, hint: Any, path: str
) -> Callable[[Any], list[Reference]] | None:
    """What finds the references in a field's value; None where it holds none."""
    if conversion.collection:
        collection = conversion.collection

        def direct(value: Any) -> list[Reference]:
            ids = value if isinstance(value, list) else [value]
            return [Reference(collection, i, path) for i in ids if i is not None]

        return direct
    if conversion.filter_kind == "record_names":
        return lambda names: [_named(name, path) for name in names]
    item = _inner(hint)
    if not field.is_repeated or not is_dataclass(item):
        return None
    nested = [(f.name, c) for f, c in _nested_conversions(field, item, path) if c.collection]

    def in_items(value: Any) -> list[Reference]:
        return [
            Reference(c.collection, getattr(entry, name), f"{path}[{i}].{name}")
            for i, entry in enumerate(value or [])
            for name, c in nested
            if getattr(entry, name) is not None
        ]

    return in_items if nested else None


def _named(name: str, path: str) -> Reference:
    collection = name.partition("/")[0]
    return Reference(collection, parse_name(name, collection=collection, field=path), path)


def _optional(hint: Any) -> Any:
    """`X` of `X | None`."""
    if get_origin(hint) in {types.UnionType, Union}:
        return next(a for a in get_args(hint) if a is not type(None))
    return hint


def _inner(hint: Any) -> Any:
    """The item type of `list[X]`."""
    hint = _optional(hint)
    return get_args(hint)[0] if get_origin(hint) is list else hint


def _conversion(field: FieldDescriptor, hint: Any, path: str) -> Conversion:
    if field.message_type is not None and field.message_type.full_name == "google.protobuf.Struct":
        return struct_conversion(field.name)
    if field.message_type is not None and field.message_type.GetOptions().map_entry:
        return _map(field.name, path)
    value = _value(field, _inner(hint), path)
    return _repeated(field, value) if field.is_repeated else _single(field, value)


def _single(field: FieldDescriptor, value: Value) -> Conversion:
    name, has_presence, fill = field.name, field.has_presence, value.fill
    from_wire, to_wire = value.from_wire, value.to_wire

    def put_message(message: Any, item: Any) -> None:
        assert fill is not None
        fill(getattr(message, name), item)

    def put_same(message: Any, item: Any) -> None:
        setattr(message, name, item)

    def put_converted(message: Any, item: Any) -> None:
        setattr(message, name, to_wire(item))

    plain = put_same if to_wire is same else put_converted
    put = plain if fill is None else put_message

    def take(message: Any) -> Any:
        if has_presence and not message.HasField(name):
            return None
        return from_wire(getattr(message, name))

    return Conversion(
        put, take, value.to_json, value.from_json,
        value.filter_kind, value.filter_values, value.collection,
    )  # fmt: skip


def _repeated(field: FieldDescriptor, value: Value) -> Conversion:
    name, fill = field.name, value.fill

    def put(message: Any, items: Any) -> None:
        target = getattr(message, name)
        if fill is not None:
            for item in items:
                fill(target.add(), item)
        else:
            target.extend([value.to_wire(item) for item in items])

    def take(message: Any) -> Any:
        return [value.from_wire(item) for item in getattr(message, name)]

    kinds = {"reference": "references", "record_name": "record_names", "text": "texts"}
    kind = kinds.get(value.filter_kind, "json_list" if fill else "")
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
    def put(message: Any, items: dict[str, str]) -> None:
        target = getattr(message, name)
        for key, item in items.items():
            target[key] = item

    def take(message: Any) -> dict[str, str]:
        return {text(k, path): text(v, path) for k, v in getattr(message, name).items()}

    return Conversion(put, take, dict, dict, "labels")


def _value(field: FieldDescriptor, hint: Any, path: str) -> Value:
    if field.message_type is None or is_well_known(field):
        return value_of(field, hint, path)
    if not is_dataclass(hint):
        msg = f"{field.full_name}: the attribute must be a dataclass, not {hint}"
        raise ContractError(msg)
    return _nested_value(field, hint, path)


def _nested_conversions(
    field: FieldDescriptor, hint: Any, path: str
) -> list[tuple[FieldDescriptor, Conversion]]:
    message = field.message_type
    assert message is not None
    hints, by_name = get_type_hints(hint), message.fields_by_name
    if set(by_name) != {f.name for f in fields(hint)}:
        msg = f"{message.full_name}: fields differ from those of {hint.__name__}"
        raise ContractError(msg)
    return [(by_name[n], _conversion(by_name[n], hints[n], f"{path}.{n}")) for n in by_name]


def _nested_value(field: FieldDescriptor, hint: Any, path: str) -> Value:
    parts = [(f.name, c) for f, c in _nested_conversions(field, hint, path)]

    def fill(message: Any, value: Any) -> None:
        for name, conversion in parts:
            item = getattr(value, name)
            if item is not None:
                conversion.put(message, item)

    def read(message: Any) -> Any:
        return hint(**{name: conversion.take(message) for name, conversion in parts})

    def to_json(value: Any) -> dict[str, Any]:
        found = ((name, c, getattr(value, name)) for name, c in parts)
        return {name: c.to_json(item) for name, c, item in found if item is not None}

    def from_json(value: dict[str, Any]) -> Any:
        return hint(
            **{
                name: c.from_json(value[name]) if value.get(name) is not None else None
                for name, c in parts
            }
        )

    return Value(
        same, read, to_json, from_json, fill, filter_values=tuple(name for name, _ in parts)
    )
