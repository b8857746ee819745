"""How a value travels between message, attribute and JSON; and objects whose keys are not in the contract."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from crmkit.field_values import same


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


def struct_conversion(name: str) -> Conversion:
    """The conversion of a google.protobuf.Struct; an empty object is not written."""

    def put(message: Any, values: dict[str, Any]) -> None:
        if values:
            getattr(message, name).update(values)

    def take(message: Any) -> dict[str, Any] | None:
        return _object(getattr(message, name)) if message.HasField(name) else None

    return Conversion(put, take, same, same)


def _object(struct: Any) -> dict[str, Any]:
    return {key: plain(value) for key, value in struct.fields.items()}


def plain(value: Any) -> Any:
    """What a google.protobuf.Value holds."""
    match value.WhichOneof("kind"):
        case "struct_value":
            return _object(value.struct_value)
        case "list_value":
            return [plain(item) for item in value.list_value.values]
        case "null_value" | None:
            return None
        case kind:
            return getattr(value, kind)
