"""Definitions of custom fields ↔ their messages."""

from collections.abc import Iterable
from typing import Any

from google.protobuf import json_format

from crm.common.v1 import custom_field_pb2 as pb
from crmkit.custom_fields.definitions import CustomField, Option
from crmkit.field_structs import plain
from crmkit.field_values import text

WRITABLE = frozenset(
    {
        "resource", "field_id", "display_name", "type", "options", "target", "required", "unique",
        "default_value", "personal", "filterable", "sortable", "help_text", "position",
    }
)  # fmt: skip
_TEXTS = frozenset({"display_name", "help_text"})


def values_of(message: pb.CustomField, names: Iterable[str]) -> dict[str, Any]:
    """The attributes that some fields of a message say."""
    return {name: _value(message, name) for name in names}


def _value(message: pb.CustomField, name: str) -> Any:
    if name == "options":
        return tuple(
            Option(o.option_id, text(o.display_name, "custom_field.options"), o.retired)
            for o in message.options
        )
    if name == "default_value":
        return plain(message.default_value) if message.HasField("default_value") else None
    if name == "personal":
        return message.personal if message.HasField("personal") else True
    if name == "type":
        return pb.CustomField.Type.Name(message.type)
    value = getattr(message, name)
    return text(value, f"custom_field.{name}", one_line=False) if name in _TEXTS else value


def message_of(field: CustomField) -> pb.CustomField:
    """The definition as clients see it."""
    message = pb.CustomField(
        name=f"customFields/{field.id}",
        uid=str(field.id),
        etag=f'"{field.version}"',
        creator=f"users/{field.creator}" if field.creator else "",
        type=pb.CustomField.Type.Value(field.type),
        **{n: getattr(field, n) for n in WRITABLE - {"type", "options", "default_value"}},
    )
    message.create_time.FromDatetime(field.create_time)
    message.update_time.FromDatetime(field.update_time)
    if field.delete_time is not None:
        message.delete_time.FromDatetime(field.delete_time)
    for option in field.options:
        message.options.add(
            option_id=option.option_id, display_name=option.display_name, retired=option.retired
        )
    if field.default_value is not None:
        json_format.ParseDict(field.default_value, message.default_value)
    return message
