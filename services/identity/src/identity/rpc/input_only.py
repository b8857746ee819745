"""Fields that only come in and are no part of the record: taken out of an Update request."""

from typing import Any


def take_input_only(request: Any, resource: str, name: str) -> tuple[str | None, Any]:
    """The field's new value, if one is sent, and the request without it.

    Args:
        request: An Update request.
        resource: Its field with the record.
        name: The field of the record that only comes in. Named by the mask and absent it is empty.
    """
    record, paths = getattr(request, resource), list(request.update_mask.paths)
    named = not paths or paths == ["*"] or name in paths
    value = getattr(record, name) if record.HasField(name) and named else None
    if name not in paths:
        return value, request
    rest = type(request)()
    rest.CopyFrom(request)
    rest.update_mask.paths[:] = [path for path in paths if path != name]
    if not rest.update_mask.paths:  # without a mask the other populated fields would change too
        kept = getattr(rest, resource)
        kept.Clear()
        kept.name, kept.etag = record.name, record.etag
    return value or "", rest
