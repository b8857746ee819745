"""Where a mapping may write: the fields of a resource and the parts of its composed fields.

`display_name`, `amount` or `amount.currency_code`, `labels.region`, `emails.address` (of the first
item), `phones[1].number` (of the second), `stages` or `labels` (JSON text), `roles` (several, divided by
semicolons). `crmtransfer.exports.columns` writes what is read here.
"""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from functools import partial
from typing import Any

from google.api import field_behavior_pb2, resource_pb2
from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from crmkit import contract
from crmkit.errors import InvalidArgument
from crmtransfer.imports.values import (
    BadValue,
    read_currency,
    scalar_reader,
    write_amount,
    write_date,
    write_time,
)

Write = Callable[[Any, str], None]
_CURRENCY = "currency_code"
_LABEL = "label"  # what an item of a list is for; says nothing without the item
_PATH = re.compile(r"(\w+)(?:\[(\d{1,2})\])?(?:\.(.+))?", re.DOTALL)
_DIVIDER = re.compile(r"[;,\n]")
_TIME, _DATE = "google.protobuf.Timestamp", "google.type.Date"


@dataclass(frozen=True, slots=True)
class Target:
    """A place in a resource's message that a cell can fill.

    Attributes:
        path: As mapped: `lines.product`.
        field: The resource's own field that it lies in: `lines`.
        required: Whether a record without that field is refused.
        write: Puts a cell's text (for a reference, its resource name) into the resource's message.
        reference: The collection it refers to; empty if it is no reference.
        kinds: The collections it may refer to, where there are several: a mapping says which.
        several: True where the text holds several values, divided by semicolons.
        group: The composed value it is a part of, `lines.unit_price`; empty if it is none.
        follows: True where it says nothing alone: a currency without an amount.
        index: Which item of a list it is a part of, from 0.
        in_item: True where it is a part of an item of a list: the rest of that is worth having without it.
        custom: True for a custom field: `field` then names that one alone.
    """

    path: str
    field: str
    required: bool
    write: Write
    reference: str = ""
    several: bool = False
    group: str = ""
    follows: bool = False
    custom: bool = False
    index: int = 0
    in_item: bool = False
    kinds: tuple[str, ...] = ()


def target(message: type[Any], path: str, zone: tzinfo = UTC) -> Target:
    """The place a path names; raises InvalidArgument if there is none.

    Args:
        message: The resource.
        path: The place.
        zone: The time zone of times that name none.
    """
    head, index, rest = _divided(path)
    field = message.DESCRIPTOR.fields_by_name.get(head)
    if field is None or head == "custom_fields":
        raise _no_such(path)
    if index and (field.message_type is None or not field.is_repeated or not rest):
        raise _no_such(path)
    behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    path = path.replace("[0]", "", 1)
    part = _part(field, rest, path, zone, index)
    return Target(
        path=path,
        field=head,
        required=field_behavior_pb2.REQUIRED in behaviors,
        write=part.write,
        reference=part.reference,
        several=part.several,
        group=part.group,
        follows=part.follows,
        index=index,
        in_item=bool(field.is_repeated and rest and not _is_map(field)),
        kinds=contract.collections_of(field) if _is_of_several_kinds(field) else (),
    )


def _is_of_several_kinds(field: FieldDescriptor) -> bool:
    reference = field.GetOptions().Extensions[resource_pb2.resource_reference]
    return str(reference.type) == "*"


def _divided(path: str) -> tuple[str, int, str]:
    """The field, which item of its list, and what is in that: `phones[1].number`."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise _no_such(path)
    return found[1], int(found[2] or 0), found[3] or ""


def _no_such(path: str) -> InvalidArgument:
    return InvalidArgument(f"There is no field {path} to import into.")


@dataclass(frozen=True, slots=True)
class _Part:
    write: Write
    reference: str = ""
    several: bool = False
    group: str = ""
    follows: bool = False


def _part(field: FieldDescriptor, rest: str, path: str, zone: tzinfo, index: int = 0) -> _Part:
    if _is_map(field):
        return _map_entry(field, rest)
    if field.message_type is None:
        if rest:
            raise _no_such(path)
        return _several(field) if field.is_repeated else _single(field)
    if field.is_repeated and not rest:
        return _Part(_json(field))
    group = path.removesuffix(f".{rest}") if rest else path
    kind = field.message_type.full_name
    if kind == "google.type.Money" and not field.is_repeated:
        return _money(field, rest, path, group)
    plain: dict[str, Write] = {_TIME: partial(write_time, zone=zone), _DATE: write_date}
    write = plain.get(kind)
    if write is not None and not field.is_repeated:
        if rest:
            raise _no_such(path)
        return _plain(field.name, write)
    return _nested(field, rest, path, group, zone, index)


def _plain(name: str, write: Write) -> _Part:
    return _Part(lambda message, text: write(getattr(message, name), text))


def _is_map(field: FieldDescriptor) -> bool:
    kind = field.message_type
    return bool(field.is_repeated and kind is not None and kind.GetOptions().map_entry)


def _map_entry(field: FieldDescriptor, key: str) -> _Part:
    if not key:
        return _Part(_json(field))
    name = field.name

    def write(message: Any, text: str) -> None:
        getattr(message, name)[key] = text

    return _Part(write)


def _single(field: FieldDescriptor) -> _Part:
    name, read = field.name, scalar_reader(field)

    def write(message: Any, text: str) -> None:
        value = read(text)
        try:
            setattr(message, name, value)
        except ValueError as error:  # a surrogate, or a number out of the field's range
            raise BadValue(str(error)) from None

    return _Part(write, _reference(field))


def _several(field: FieldDescriptor) -> _Part:
    name, read = field.name, scalar_reader(field)

    def write(message: Any, text: str) -> None:
        getattr(message, name).extend([read(item) for item in split(text)])

    return _Part(write, _reference(field), several=True)


def split(text: str) -> list[str]:
    """The values of a cell that holds several."""
    return [item for part in text.split(";") if (item := part.strip())]


def _reference(field: FieldDescriptor) -> str:
    kind = field.GetOptions().Extensions[resource_pb2.resource_reference].type
    # A child such as a stage is no resource of its own: its record says what its text may be.
    found = contract.resources().get(kind)
    return found.collection if found else ""


def _money(field: FieldDescriptor, rest: str, path: str, group: str) -> _Part:
    name = field.name
    if rest in {"", "amount", "units"}:
        return _Part(lambda message, text: write_amount(getattr(message, name), text), group=group)
    if rest != _CURRENCY:
        raise _no_such(path)

    def write_currency(message: Any, text: str) -> None:
        getattr(message, name).currency_code = read_currency(text)

    return _Part(write_currency, group=group, follows=True)


def _nested(
    field: FieldDescriptor, rest: str, path: str, group: str, zone: tzinfo, index: int
) -> _Part:
    name, repeated = field.name, field.is_repeated
    head, _, inner_rest = rest.partition(".")
    inner_field = field.message_type.fields_by_name.get(head) if field.message_type else None
    if inner_field is None:
        raise _no_such(path)
    inner = _part(inner_field, inner_rest, path, zone)

    def write(message: Any, text: str) -> None:
        items = getattr(message, name)
        while repeated and len(items) <= index:
            items.add()
        inner.write(items[index] if repeated else items, text)

    follows = inner.follows or (repeated and head == _LABEL)
    return _Part(write, inner.reference, inner.several, inner.group or group, follows)


def _json(field: FieldDescriptor) -> Write:
    name, key = field.name, _key_of(field)

    def write(message: Any, text: str) -> None:
        try:
            json_format.ParseDict({name: _items(text, key) if key else json.loads(text)}, message)
        except (json_format.ParseError, ValueError, RecursionError) as error:
            msg = f"This is not the JSON of {name}: {str(error)[:200]}"
            raise BadValue(msg) from None

    return write


def _key_of(field: FieldDescriptor) -> str:
    """The one text that an item of a list must have (an e-mail's address); empty if there is none."""
    if not field.is_repeated or field.message_type is None or _is_map(field):
        return ""
    needed = [
        part
        for part in field.message_type.fields
        if field_behavior_pb2.REQUIRED
        in part.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    ]
    is_text = len(needed) == 1 and needed[0].cpp_type == FieldDescriptor.CPPTYPE_STRING
    return (
        needed[0].name
        if is_text and not needed[0].is_repeated and not _reference(needed[0])
        else ""
    )


def _items(text: str, key: str) -> Any:
    """Items as other systems write them: `a@x, b@y`, `["a@x"]` or `[{"label": "work", "value": "a@x"}]`."""
    if not text.startswith(("[", "{")):
        return [{key: item} for part in _DIVIDER.split(text) if (item := part.strip())]
    items = json.loads(text)
    return [_item(item, key) for item in items] if isinstance(items, list) else items


def _item(item: Any, key: str) -> Any:
    if isinstance(item, str):
        return {key: item}
    if isinstance(item, dict) and key not in item and "value" in item:
        return {key if name == "value" else name: value for name, value in item.items()}
    return item
