"""Strict reading of JSON request bodies.

Envoy's transcoder drops unknown fields silently, so a misspelt field would be lost without a word.
The edge therefore checks a body against its message before Envoy translates it: unknown fields,
doubled keys, wrong types and deep nesting are refused with the path of the field.
"""

import json
import re
from collections import Counter
from collections.abc import Callable
from typing import Any, NoReturn

from google.protobuf import (
    any_pb2,
    descriptor,
    duration_pb2,
    field_mask_pb2,
    json_format,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message

from gateway.json_scalars import scalar_problem

MAX_DEPTH = 100
MAX_VIOLATIONS = 50
MAX_SHOWN = 200
_HALF_PAIR = "contains half of a surrogate pair"

_CAMEL = re.compile(r"(?<=[a-z0-9])([A-Z])")
# Well-known types have a JSON form of their own, which the protobuf library knows.
_WELL_KNOWN: dict[str, Callable[[], Message]] = {
    message.DESCRIPTOR.full_name: message
    for message in (
        any_pb2.Any,
        duration_pb2.Duration,
        field_mask_pb2.FieldMask,
        struct_pb2.ListValue,
        struct_pb2.Struct,
        struct_pb2.Value,
        timestamp_pb2.Timestamp,
        wrappers_pb2.BoolValue,
        wrappers_pb2.BytesValue,
        wrappers_pb2.DoubleValue,
        wrappers_pb2.FloatValue,
        wrappers_pb2.Int32Value,
        wrappers_pb2.Int64Value,
        wrappers_pb2.StringValue,
        wrappers_pb2.UInt32Value,
        wrappers_pb2.UInt64Value,
    )
}


class BadBodyError(Exception):
    """A body that is refused.

    Attributes:
        reason: `INVALID_JSON`, `UNKNOWN_FIELD` or `INVALID_FIELD`.
        violations: pairs of a field's path and what is wrong with it.
    """

    def __init__(self, reason: str, violations: list[tuple[str, str]]) -> None:
        """Takes the reason and at least one violation."""
        self.reason = reason
        self.violations = violations
        field, text = violations[0]
        super().__init__(f"{field}: {text}" if field else text)


def check_body(body: bytes, message: descriptor.Descriptor, field: str = "*") -> None:
    """Checks that `body` is JSON for `message`, or for its field `field`.

    An empty body is an empty message, but no field. Field paths in the error start at `message`.

    Raises:
        BadBodyError: it is not.
    """
    if not body.strip():
        if field == "*":
            return
        raise _not_json(text="The body is empty: a JSON object is expected.")
    root = "" if field == "*" else field
    value = _parse(body, root)
    checker = _Checker()
    if field == "*":
        checker.message(value, message, "", 1)
    else:
        checker.field(value, message.fields_by_name[field], root, 1)
    if checker.problems:
        unknown = any(reason == "UNKNOWN_FIELD" for reason, _, _ in checker.problems)
        violations = [(path, text) for _, path, text in checker.problems]
        raise BadBodyError("UNKNOWN_FIELD" if unknown else "INVALID_FIELD", violations)


def _parse(body: bytes, root: str) -> object:
    def refuse_constant(name: str) -> NoReturn:
        message = f"{name} is not JSON"
        raise ValueError(message)

    try:
        text = body.decode()
        value = json.loads(text, object_pairs_hook=_unique, parse_constant=refuse_constant)
        if "\\ud" in text.lower():
            _refuse_half_pairs(value, root)
    except RecursionError as error:
        raise _too_deep() from error
    except UnicodeDecodeError as error:
        raise _not_json(text=f"The body is not UTF-8 at byte {error.start}.") from error
    except ValueError as error:
        raise _not_json(text=f"The body is not JSON: {error}.") from error
    return value


def _refuse_half_pairs(value: object, path: str) -> None:
    """JSON can write half of a surrogate pair, which is no character: nothing could store it."""
    if isinstance(value, str):
        if _is_broken(value):
            raise _not_json(field=path, text=_HALF_PAIR)
    elif isinstance(value, list):
        for index, member in enumerate(value):
            _refuse_half_pairs(member, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, member in value.items():
            where = _join(path, key)
            if _is_broken(key):
                raise _not_json(field=where, text=_HALF_PAIR)
            _refuse_half_pairs(member, where)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    result = dict(pairs)
    if len(result) < len(pairs):
        doubled, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _not_json(field=_join("", doubled), text="the key appears twice")
    return result


def _is_broken(text: str) -> bool:
    return any("\ud800" <= character <= "\udfff" for character in text)


def _join(path: str, key: str) -> str:
    """The path of a member, fit to be shown: short, and with broken characters spelt out."""
    shown = key[:MAX_SHOWN].encode(errors="backslashreplace").decode()
    return f"{path}.{shown}" if path else shown


def _too_deep() -> BadBodyError:
    return _not_json(text=f"The body is nested deeper than {MAX_DEPTH}.")


def _not_json(*, text: str, field: str = "") -> BadBodyError:
    return BadBodyError("INVALID_JSON", [(field, text)])


class _Checker:
    """Walks a JSON value beside its message and collects what is wrong."""

    def __init__(self) -> None:
        self.problems: list[tuple[str, str, str]] = []

    def message(self, value: object, message: descriptor.Descriptor, path: str, depth: int) -> None:
        if depth > MAX_DEPTH:
            raise _too_deep()
        if message.full_name in _WELL_KNOWN:
            self._well_known(value, message.full_name, path, depth)
        elif not isinstance(value, dict):
            self._refuse(path, "must be an object")
        else:
            self._members(value, message, path, depth)

    def field(
        self,
        value: object,
        field: descriptor.FieldDescriptor,
        path: str,
        depth: int,
    ) -> None:
        null_is_a_value = field.message_type and field.message_type.full_name == _VALUE
        if value is None and not null_is_a_value:
            return  # null is absent
        if field.message_type and field.message_type.GetOptions().map_entry:
            self._map(value, field.message_type, path, depth)
        elif field.is_repeated:
            self._list(value, field, path, depth)
        else:
            self._single(value, field, path, depth)

    def _members(
        self, value: dict[str, Any], message: descriptor.Descriptor, path: str, depth: int
    ) -> None:
        chosen: dict[str, str] = {}
        for key, member in value.items():
            where = _join(path, key)
            field = message.fields_by_name.get(key)
            if field is None:
                self._unknown(message, key, where)
                continue
            self.field(member, field, where, depth + 1)
            group = field.containing_oneof
            if group is not None and member is not None:
                other = chosen.setdefault(group.name, key)
                if other != key:
                    self._refuse(where, f"cannot be set together with {other}")

    def _map(self, value: object, entry: descriptor.Descriptor, path: str, depth: int) -> None:
        if not isinstance(value, dict):
            self._refuse(path, "must be an object")
            return
        keys, values = entry.fields_by_name["key"], entry.fields_by_name["value"]
        for key, member in value.items():
            where = _join(path, key)
            if problem := scalar_problem(key, keys, as_map_key=True):
                self._refuse(where, f"the key {problem}")
            if member is None and values.message_type is None:
                self._refuse(where, "must not be null")
            else:
                self._single(member, values, where, depth + 1)

    def _list(
        self,
        value: object,
        field: descriptor.FieldDescriptor,
        path: str,
        depth: int,
    ) -> None:
        if not isinstance(value, list):
            self._refuse(path, "must be a list")
            return
        for index, member in enumerate(value):
            self._single(member, field, f"{path}[{index}]", depth + 1)

    def _single(
        self,
        value: object,
        field: descriptor.FieldDescriptor,
        path: str,
        depth: int,
    ) -> None:
        if field.message_type is not None:
            self.message(value, field.message_type, path, depth)
        elif problem := scalar_problem(value, field):
            self._refuse(path, problem)

    def _well_known(self, value: Any, name: str, path: str, depth: int) -> None:
        if name == _FIELD_MASK:
            # The library wants camelCase here; our paths are the fields' own names.
            if not isinstance(value, str) or not _PATHS.fullmatch(value):
                self._refuse(path, "must be field paths separated by commas")
            return
        # Each level of a Struct is three messages on the wire, and readers stop at a hundred.
        if depth + 3 * _depth(value) > MAX_DEPTH:
            raise _too_deep()
        try:
            json_format.ParseDict(value, _WELL_KNOWN[name]())
        except (json_format.ParseError, ValueError, TypeError, AttributeError, KeyError):
            # The library's own words name its internals; some wrong types escape it untyped.
            self._refuse(path, f"is not a {name}")

    def _unknown(self, message: descriptor.Descriptor, key: str, path: str) -> None:
        snake = _CAMEL.sub(r"_\1", key).lower()
        hint = f"; did you mean {snake}?" if snake in message.fields_by_name else ""
        self._add("UNKNOWN_FIELD", path, f"unknown field{hint}")

    def _refuse(self, path: str, text: str) -> None:
        self._add("INVALID_FIELD", path, text if path else f"The body {text}.")

    def _add(self, reason: str, path: str, text: str) -> None:
        if len(self.problems) < MAX_VIOLATIONS:
            self.problems.append((reason, path, text))


_FIELD_MASK = field_mask_pb2.FieldMask.DESCRIPTOR.full_name
_PATHS = re.compile(r"[A-Za-z0-9_.*]*(,[A-Za-z0-9_.*]+)*")
_VALUE = struct_pb2.Value.DESCRIPTOR.full_name


def _depth(value: object) -> int:
    depth, layer = 0, [value]
    while layer:
        layer = [
            member
            for item in layer
            if isinstance(item, dict | list)
            for member in (item.values() if isinstance(item, dict) else item)
        ]
        depth += 1
    return depth
