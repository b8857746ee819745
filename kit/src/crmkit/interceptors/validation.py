"""Validation: the shape of a request, from `field_behavior` and `buf.validate`."""

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import protovalidate
from google.api import field_behavior_pb2
from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.message import Message

from crmkit.contract import Method
from crmkit.errors import InvalidArgument, Violation
from crmkit.field_values import BLANK

Check = Callable[[Any], None]
_MAX_VIOLATIONS = 20


def validator(method: Method) -> Check:
    """A function that raises InvalidArgument, naming every field at fault."""
    # An update names its fields by mask: what is required of the whole record is not required of it.
    is_update = method.name.startswith(("Update", "BatchUpdate"))
    required = _required_check(method.input.DESCRIPTOR, whole=not is_update)

    def validate(request: Any) -> None:
        missing = required(request, "")
        if missing:
            violations = [Violation(path, f"{path} is required.") for path in missing]
            raise InvalidArgument(
                violations[0].description, reason="REQUIRED_FIELD", violations=violations
            )
        found = protovalidate.collect_violations(request)
        if found:
            raise _invalid(found)

    return validate


def faults(message: Any) -> list[tuple[str, str, str]]:
    """What a Create request with this record would be refused for: (path, reason, sentence) each."""
    missing = _required_check(message.DESCRIPTOR, whole=True)(message, "")
    found = [(path, "REQUIRED_FIELD", f"{path} is required.") for path in missing]
    for item in protovalidate.collect_violations(message):
        path = _path(item.proto.field)
        found.append((path, "INVALID_FIELD", f"{path}: {item.proto.message}"))
    return found


def _invalid(found: list[Any]) -> InvalidArgument:
    violations = [
        Violation(_path(item.proto.field), f"{_path(item.proto.field)}: {item.proto.message}")
        for item in found[:_MAX_VIOLATIONS]
    ]
    return InvalidArgument(violations[0].description, violations=violations)


def _path(field: Any) -> str:
    parts = []
    for element in field.elements:
        at = element.subscript
        parts.append(f"{element.field_name}[{at.value}]" if at else element.field_name)
    return ".".join(parts)


RequiredCheck = Callable[[Any, str], list[str]]


@cache
def _required_check(descriptor: Descriptor, *, whole: bool) -> RequiredCheck:
    """A function that lists the paths of required fields that are not filled."""
    required: list[FieldDescriptor] = []
    nested: list[tuple[FieldDescriptor, RequiredCheck]] = []
    is_resource = _is_resource(descriptor)
    for field in descriptor.fields:
        behaviors = field.GetOptions().Extensions[field_behavior_pb2.field_behavior]
        if field_behavior_pb2.REQUIRED in behaviors and (whole or not is_resource):
            required.append(field)
        ours = field.message_type is not None and field.message_type.full_name.startswith("crm.")
        if ours and field_behavior_pb2.OUTPUT_ONLY not in behaviors:
            nested.append((field, _required_check(field.message_type, whole=whole)))

    def check(message: Any, prefix: str) -> list[str]:
        missing = [f"{prefix}{f.name}" for f in required if not _filled(message, f)]
        for field, inner in nested:
            if field.is_repeated:
                for index, item in enumerate(getattr(message, field.name)):
                    missing += inner(item, f"{prefix}{field.name}[{index}].")
            elif message.HasField(field.name):
                missing += inner(getattr(message, field.name), f"{prefix}{field.name}.")
        return missing

    return check


def _is_resource(descriptor: Descriptor) -> bool:
    """True for what has a name of its own; one that every service has is of no service's type."""
    name = descriptor.fields_by_name.get("name")
    return name is not None and (
        field_behavior_pb2.IDENTIFIER
        in name.GetOptions().Extensions[field_behavior_pb2.field_behavior]
    )


def _filled(message: Any, field: FieldDescriptor) -> bool:
    value = getattr(message, field.name)
    if field.is_repeated:
        return len(value) > 0
    if isinstance(value, str):
        return bool(value.strip(BLANK))
    return bool(message.HasField(field.name)) if field.has_presence else bool(value)


def refuse_nul(request: Any, data: bytes) -> None:
    """Raises InvalidArgument naming the first text with a NUL, which no database stores.

    Args:
        request: The message.
        data: Its bytes: most have no zero at all, and need no closer look.
    """
    if b"\x00" in data and (path := _nul_in(request, "")):
        msg = f"{path} must not contain NUL characters."
        raise InvalidArgument(msg, field=path)


def _nul_in(value: Any, path: str) -> str:
    """The path of a text with a NUL; empty if there is none."""
    if isinstance(value, str):
        return path if "\x00" in value else ""
    if isinstance(value, Message):
        inside = ((f"{path}.{field.name}", item) for field, item in value.ListFields())
    elif isinstance(value, Mapping):
        inside = ((path, part) for pair in value.items() for part in pair)
    elif isinstance(value, Sequence) and not isinstance(value, bytes):
        inside = ((f"{path}[{index}]", item) for index, item in enumerate(value))
    else:
        return ""
    found = (_nul_in(item, where) for where, item in inside)
    return next((where.lstrip(".") for where in found if where), "")
