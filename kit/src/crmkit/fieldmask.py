"""Update masks (AIP-134): which fields of a resource an update writes."""

from collections.abc import Collection, Sequence

from google.protobuf.message import Message

from crmkit.errors import InvalidArgument


def masked_fields(
    mask_paths: Sequence[str], message: Message, allowed: Collection[str]
) -> list[str]:
    """Returns the fields to write, each once.

    No mask means the populated fields of the message; those that cannot be written (name, etag,
    output-only fields that a client sends back) are then ignored. `*` means every field that
    can be written, so that the ones not populated are cleared.

    Args:
        mask_paths: the paths of `update_mask`.
        message: the resource as sent.
        allowed: the fields that an update may write.

    Raises:
        InvalidArgument: `INVALID_FIELD` on `update_mask`: unknown, not writable, a part of a
            field (other than one of the custom fields), or `*` beside other paths.
    """
    if not mask_paths:
        return [field.name for field, _ in message.ListFields() if field.name in allowed]
    if list(mask_paths) == ["*"]:
        return list(allowed)
    for path in mask_paths:
        _check(path, message, allowed)
    return list(dict.fromkeys(mask_paths))


def _check(path: str, message: Message, allowed: Collection[str]) -> None:
    """Raises InvalidArgument unless the path names one whole field that may be written."""
    field, _, part = path.partition(".")
    if path in allowed or (field == "custom_fields" and part and field in allowed):
        return
    if path == "*":
        problem = "* must be the only path"
    elif field not in message.DESCRIPTOR.fields_by_name:
        problem = f"there is no field {path}"
    elif field in allowed:
        problem = f"{path} is a part of a field: name the whole field {field}"
    else:
        problem = f"{field} cannot be updated"
    msg = f"update_mask: {problem}"
    raise InvalidArgument(msg, field="update_mask")
