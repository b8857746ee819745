"""Preconditions from HTTP headers: `If-Match` means the request's etag."""

from typing import Any

from crmkit.call import Call
from crmkit.errors import InvalidArgument


def apply_if_match(request: Any, call: Call) -> None:
    """Puts an If-Match header into the request's etag, or into its resource's.

    Raises:
        InvalidArgument: Both are given and differ, or the method knows no etag.
    """
    header = call.metadata.get("if-match", "")
    if not header or header == "*":
        return
    target = _holder(request)
    if target is None:
        msg = "This method takes no If-Match header."
        raise InvalidArgument(msg, field="etag")
    if target.etag and target.etag != header:
        msg = "The etag and the If-Match header differ."
        raise InvalidArgument(msg, field="etag")
    target.etag = header


def _holder(request: Any) -> Any:
    fields = request.DESCRIPTOR.fields
    if any(field.name == "etag" for field in fields):
        return request
    for field in fields:
        if field.message_type is not None and "etag" in field.message_type.fields_by_name:
            return getattr(request, field.name)
    return None
