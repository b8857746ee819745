"""Files on their way out: to be saved, and never shown as a page of ours."""

from collections.abc import AsyncIterator
from typing import Any

from google.api import httpbody_pb2

from crmattachments import file_names, rows
from crmattachments.content_types import served_as
from crmattachments.store import FileStore
from crmkit.call import Call
from crmkit.errors import FailedPrecondition

# A page of another origin in a sandbox, even if a browser should show what it is told to save.
_SAFE_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "same-site"),
)


async def download(
    call: Call, store: FileStore, row: dict[str, Any], name: str
) -> AsyncIterator[httpbody_pb2.HttpBody]:
    """The file of an attachment in pieces; raises FailedPrecondition `ATTACHMENT_DELETED`."""
    if row["delete_time"] is not None:
        msg = f"{name} is deleted; restore it first."
        raise FailedPrecondition(msg, reason="ATTACHMENT_DELETED")
    content_type = served_as(row["content_type"])
    headers = [("content-disposition", file_names.content_disposition(row["file_name"]))]
    async for piece in store.get(rows.key(call.home.name, row["id"])):
        if headers:  # only once there is a file: an error is answered without them
            call.response_headers += [*headers, *_SAFE_HEADERS]
            headers = []
        yield httpbody_pb2.HttpBody(content_type=content_type, data=piece)
