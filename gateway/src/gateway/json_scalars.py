"""Whether a JSON value fits a scalar field of a message."""

import base64
import math
import re

from google.protobuf.descriptor import FieldDescriptor as Field

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_INT32 = (-(1 << 31), (1 << 31) - 1)
_INT64 = (-(1 << 63), (1 << 63) - 1)
_UINT32 = (0, (1 << 32) - 1)
_UINT64 = (0, (1 << 64) - 1)
_RANGES = {
    Field.TYPE_INT32: _INT32,
    Field.TYPE_SINT32: _INT32,
    Field.TYPE_SFIXED32: _INT32,
    Field.TYPE_INT64: _INT64,
    Field.TYPE_SINT64: _INT64,
    Field.TYPE_SFIXED64: _INT64,
    Field.TYPE_UINT32: _UINT32,
    Field.TYPE_FIXED32: _UINT32,
    Field.TYPE_UINT64: _UINT64,
    Field.TYPE_FIXED64: _UINT64,
}
_MAX_FLOAT = 3.4028234663852886e38


def scalar_problem(value: object, field: Field, *, as_map_key: bool = False) -> str | None:
    """What is wrong with `value` for `field` (`must be a string`), or None.

    Args:
        value: a parsed JSON value.
        field: a field that is not a message.
        as_map_key: whether the value is a JSON key, where numbers and booleans are strings.
    """
    kind = field.type
    if kind == Field.TYPE_STRING:
        return _string(value)
    if kind == Field.TYPE_BYTES:
        return _bytes(value)
    if kind == Field.TYPE_BOOL:
        fits = value in ("true", "false") if as_map_key else isinstance(value, bool)
        return None if fits else "must be true or false"
    if kind == Field.TYPE_ENUM:
        return _enum(value, field)
    if kind in _RANGES:
        return _integer(value, *_RANGES[kind])
    return _number(value, single=kind == Field.TYPE_FLOAT)


def _string(value: object) -> str | None:
    return None if isinstance(value, str) else "must be a string"


def _bytes(value: object) -> str | None:
    if isinstance(value, str):
        try:
            base64.b64decode(value.replace("-", "+").replace("_", "/") + "==", validate=True)
        except ValueError:
            return "must be base64"
        return None
    return "must be base64"


def _enum(value: object, field: Field) -> str | None:
    names = field.enum_type.values_by_name if field.enum_type else {}
    if isinstance(value, str) and value in names:
        return None
    return f"must be one of {', '.join(names)}"


def _integer(value: object, least: int, most: int) -> str | None:
    text = f"must be a whole number from {least} to {most}"
    if isinstance(value, str) and _INTEGER.fullmatch(value):
        value = int(value)
    if isinstance(value, float) and math.isfinite(value) and value == int(value):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return text
    return None if least <= value <= most else text


def _number(value: object, *, single: bool) -> str | None:
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return None
        try:
            value = float(value)
        except ValueError:
            return "must be a number"
    if isinstance(value, bool) or not isinstance(value, int | float):
        return "must be a number"
    limit = _MAX_FLOAT if single else 1.7976931348623157e308
    return None if -limit <= value <= limit else "is out of range"
