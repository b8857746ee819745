"""The columns of an export: which fields of a resource they hold, and how each becomes text.

The opposite of `crmtransfer.imports.fields`: a column is named as the import names the field it fills, and
its text is what the import reads.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import FieldDescriptor

from crmkit.collection import Collection
from crmkit.custom_fields.definitions import CustomField, ResourceFields
from crmkit.custom_fields.types import KINDS
from crmkit.errors import InvalidArgument
from crmkit.field_structs import plain
from crmtransfer.formulas import guarded

Read = Callable[[Any], str]
_CUSTOM_KINDS = {"NUMBER": "number", "FLAG": "boolean", "DATE": "date", "TIME": "time"}
# Says nothing that the name does not say, or is absent from every record that a list shows.
_LEFT_OUT = frozenset({"delete_time"})


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an export.

    Attributes:
        path: Its header.
        text: Its text for a record's message; empty where the field is.
        kind: What a spreadsheet takes it for: `text`, `number`, `boolean`, `date` or `time`.
    """

    path: str
    text: Read
    kind: str = "text"


def columns_of(
    collection: Collection[Any],
    fields: Sequence[str],
    custom: ResourceFields,
    hidden: frozenset[str] = frozenset(),
) -> list[Column]:
    """The columns for the fields asked for, or for all where none are.

    Args:
        collection: The records.
        fields: What is asked for.
        custom: What the organisation adds to them.
        hidden: What whoever asks may not see: as if it were not there.

    Raises:
        InvalidArgument: A field is unknown, cannot be exported, or is named twice.
    """
    descriptor: Any = collection.contract.message.DESCRIPTOR
    known = all_fields(collection, hidden)
    columns: list[Column] = []
    for index, path in enumerate(fields or known):
        head, _, rest = path.partition(".")
        if head == "custom_fields":
            found = list(_custom_columns(custom, rest))
            if not found and rest:
                msg = f"There is no field {path} to export."
                raise _invalid(msg, index)
            columns += [c for c in found if c.path not in {known.path for known in columns}]
            continue
        if head in hidden or (head != "name" and head not in collection.codec.fields):
            msg = f"There is no field {path} to export."
            raise _invalid(msg, index)
        found = list(_columns(descriptor.fields_by_name[head], rest, path))
        if not found:
            msg = f"{path} is no column: name {head}, or labels.KEY."
            raise _invalid(msg, index)
        if {column.path for column in found} & {column.path for column in columns}:
            msg = f"The field {path} is named twice."
            raise _invalid(msg, index)
        columns += found
    return columns


def all_fields(collection: Collection[Any], hidden: frozenset[str] = frozenset()) -> list[str]:
    """The fields of an export that names none."""
    left_out = _LEFT_OUT | hidden
    return ["name", *(n for n in collection.codec.fields if n not in left_out)]


def _custom_columns(custom: ResourceFields, field_id: str) -> Iterator[Column]:
    for field in custom.by_id.values():
        if field_id in {"", field.field_id}:
            kind = _CUSTOM_KINDS.get(field.type, "text")
            yield Column(f"custom_fields.{field.field_id}", _custom(field), kind)


def _custom(field: CustomField) -> Read:
    def read(message: Any) -> str:
        value = message.custom_fields.fields.get(field.field_id)
        if value is None:
            return ""
        written = KINDS[field.type].to_text(plain(value))
        return guarded(written) if field.type == "TEXT" else written

    return read


def _invalid(message: str, index: int) -> InvalidArgument:
    return InvalidArgument(message, field=f"export.fields[{index}]")


def _columns(field: FieldDescriptor, rest: str, path: str) -> Iterator[Column]:
    kind = field.message_type
    name = field.name
    if kind is not None and kind.GetOptions().map_entry:
        yield Column(path, _map_entry(name, rest) if rest else _json_map(name))
    elif rest:
        return
    elif field.is_repeated:
        yield Column(path, _several(name) if kind is None else _json_list(name))
    elif kind is not None and kind.full_name == "google.type.Money":
        yield Column(path, _if_present(name, _amount), "number")
        yield Column(f"{path}.currency_code", _if_present(name, lambda m: str(m.currency_code)))
    elif kind is not None:
        text, shown = _MESSAGES[kind.full_name]
        yield Column(path, _if_present(name, text), shown)
    else:
        yield Column(path, _scalar(field), _kind_of(field))


def _scalar(field: FieldDescriptor) -> Read:
    text = _text_of(field)
    if not field.has_presence:
        return lambda message: text(getattr(message, field.name))
    return _if_present(field.name, text)


def _kind_of(field: FieldDescriptor) -> str:
    if field.enum_type is not None or field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return "text"
    return "boolean" if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL else "number"


def _text_of(field: FieldDescriptor) -> Callable[[Any], str]:
    if field.enum_type is not None:
        names = {v.number: v.name if v.number else "" for v in field.enum_type.values}
        return names.__getitem__
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return lambda value: "true" if value else "false"
    if field.cpp_type in {FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT}:
        return repr
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        return guarded
    return str


def _if_present(name: str, text: Callable[[Any], str]) -> Read:
    return lambda message: text(getattr(message, name)) if message.HasField(name) else ""


def _amount(money: Any) -> str:
    amount = money.units + Decimal(money.nanos).scaleb(-9)
    return f"{amount.normalize():f}"


def _date(date: Any) -> str:
    return f"{date.year:04}-{date.month:02}-{date.day:02}"


_MESSAGES: dict[str, tuple[Callable[[Any], str], str]] = {
    "google.protobuf.Timestamp": (lambda time: str(time.ToJsonString()), "time"),
    "google.type.Date": (_date, "date"),
}


def _several(name: str) -> Read:
    return lambda message: guarded(";".join(getattr(message, name)))


def _map_entry(name: str, key: str) -> Read:
    return lambda message: guarded(getattr(message, name).get(key, ""))


def _json_map(name: str) -> Read:
    return lambda message: _json(dict(sorted(getattr(message, name).items())))


def _json_list(name: str) -> Read:
    def read(message: Any) -> str:
        items = getattr(message, name)
        return _json(
            [json_format.MessageToDict(item, preserving_proto_field_name=True) for item in items]
        )

    return read


def _json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False) if value else ""
