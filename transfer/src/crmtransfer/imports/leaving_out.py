"""Leaves out of a record what is bad in it, and no more than that."""

import re
from collections.abc import Iterable
from typing import Any

from google.api import field_behavior_pb2

# `emails`, `emails[1]`, `emails[1].address`, `addresses[0].address_lines[2]`
_PATH = re.compile(r"(\w+)(?:\[(\d+)\])?(?:\.(\w+))?.*", re.DOTALL)


def leave_out(message: Any, paths: Iterable[str]) -> None:
    """Clears what is at fault: of a list, the part of an item, or the item that says nothing without it."""
    items: dict[str, set[int]] = {}
    for path in paths:
        found = _PATH.fullmatch(path)
        name, index, part = found.groups() if found else (path.partition(".")[0], None, None)
        field = message.DESCRIPTOR.fields_by_name[name]
        if index is None or not field.is_repeated:
            message.ClearField(name)
        elif part is None or _is_required(field.message_type.fields_by_name[part]):
            items.setdefault(name, set()).add(int(index))
        elif int(index) < len(getattr(message, name)):
            getattr(message, name)[int(index)].ClearField(part)
    for name, indexes in items.items():
        for index in sorted(indexes, reverse=True):
            if index < len(getattr(message, name)):
                del getattr(message, name)[index]


def _is_required(field: Any) -> bool:
    return (
        field_behavior_pb2.REQUIRED
        in (field.GetOptions().Extensions[field_behavior_pb2.field_behavior])
    )
