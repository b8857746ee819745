"""Documents: what is said of one stands in the rows of all its versions, and moves and goes with them."""

import unicodedata
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import document_pb2
from crmattachments import rows
from crmattachments.rows import COLUMNS, RECORDS, document_of
from crmkit.call import Call
from crmkit.children.parents import Parent, event_message, publish
from crmkit.children.tables import ATTACHMENT
from crmkit.errors import InvalidArgument
from crmkit.field_values import text
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from crmkit.statements import compile_statement

EXPIRY_JOB = "document_expiry"
FIELDS = ("title", "folder", "tags", "expire_time")  # what people say of a document
# What a new version takes over from the one before, besides its document's id.
INHERITED = ("collection", "record", "document_version", *FIELDS)
_ID = sa.bindparam("id", type_=sa.Uuid)
_OF = sa.or_(ATTACHMENT.c.id == _ID, ATTACHMENT.c.document == _ID)
_VERSIONS = sa.select(*COLUMNS).where(_OF).order_by(ATTACHMENT.c.version_number)
ALL_VERSIONS = compile_statement(_VERSIONS)
_LOCK = compile_statement(_VERSIONS.with_for_update())
CURRENT = compile_statement(
    sa.select(*COLUMNS).where(_OF, ATTACHMENT.c.record == sa.any_(RECORDS), ATTACHMENT.c.is_current)
)
_SAID = (*FIELDS, "document_version", "document_update_time")
_STORE = compile_statement(
    sa.update(ATTACHMENT)
    .where(_OF)
    .values(
        {n: sa.bindparam(f"new_{n}", type_=ATTACHMENT.c[n].type) for n in _SAID}
        | {"is_current": ATTACHMENT.c.id == sa.bindparam("current", type_=sa.Uuid)}
    )
)
# One after the other changes a document: a version that another adds is seen. Ends with the transaction.
_TAKE_TURNS = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('documents/' || :document, 0))")
)
_MOST_FOLDERS = 10


async def versions(call: Call, document: UUID) -> list[dict[str, Any]]:
    """The rows of a document, oldest first, which nobody else changes until the transaction ends."""
    await call.tx.execute(_TAKE_TURNS, {"document": str(document)})
    return [rows.values(row) for row in await call.tx.fetch_all(_LOCK, {"id": document})]


def current_of(versions: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The version that is the document: the newest, of those that are not deleted if there are any."""
    return max(versions, key=lambda row: (row["delete_time"] is None, row["version_number"]))


async def follow(
    call: Call, parent: Parent, before: dict[str, Any], versions: Sequence[dict[str, Any]]
) -> None:
    """Makes the document what its versions say, after one of them came or went.

    Args:
        call: The change.
        parent: The record.
        before: The current version before.
        versions: The versions that there are now.
    """
    if not versions:
        before["document_version"] += 1
        await tell(call, parent, "purged", before)
        return
    after = current_of(versions)
    was_deleted, is_deleted = before["delete_time"] is not None, after["delete_time"] is not None
    if was_deleted != is_deleted:
        await store(call, parent, after, "deleted" if is_deleted else "undeleted")
    elif after["id"] != before["id"]:
        await store(call, parent, after, "updated", ["current_version"])


async def store(
    call: Call, parent: Parent, row: dict[str, Any], past: str, changed: Sequence[str] = ()
) -> None:
    """Stores the next version of what is said of a document, in all its rows, and publishes it.

    Args:
        call: The change.
        parent: The record.
        row: The current version, as it is to be.
        past: What happened.
        changed: What was changed, where it was `updated`.
    """
    row |= {"document_version": row["document_version"] + 1, "document_update_time": call.now}
    values = {f"new_{name}": row[name] for name in _SAID}
    await call.tx.execute(_STORE, {"id": document_of(row), "current": row["id"], **values})
    await tell(call, parent, past, row, changed)


async def tell(
    call: Call, parent: Parent, past: str, row: Mapping[str, Any], changed: Sequence[str] = ()
) -> None:
    """Publishes a version of a document: without what people call it and its file."""
    event = event_message(call.home.name, f"document.{past}")
    event.document.CopyFrom(message(row))
    for name in ("title", "folder", "tags", "file_name"):
        event.document.ClearField(name)
    event.parent = parent.name
    if changed:
        event.changed_fields.extend(changed)
    version, subject = row["document_version"], event.document.name
    await publish(call, parent, f"document.{past}", subject, version, event)


async def promise_expiry(call: Call, row: Mapping[str, Any]) -> None:
    """Tells of a document when it expires, if that is still to come; a repeat promises nothing twice."""
    time: datetime | None = row["expire_time"]
    if time is None or time <= call.now:
        return
    document = document_of(row)
    arguments = {"document": str(document), "time": time.isoformat()}
    job_id = uuid5_of(document, f"expires {time.isoformat()}")
    await enqueue(call.tx, EXPIRY_JOB, arguments, time, job_id)


def message(row: Mapping[str, Any]) -> document_pb2.Document:
    """The document as clients see it, by its current version."""
    return document_pb2.Document(
        name=rows.document_name(row),
        creator=row["document_creator"] or row["creator"],
        create_time=row["document_create_time"] or row["create_time"],
        update_time=row["document_update_time"] or row["update_time"],
        delete_time=row["delete_time"],
        purge_time=row["purge_time"],
        etag=f'"{row["document_version"]}"',
        title=row["title"] or row["file_name"],
        folder=row["folder"],
        tags=row["tags"],
        expire_time=row["expire_time"],
        current_version=rows.name_of(row),
        version_number=row["version_number"],
        file_name=row["file_name"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
    )


def said(request: Any, names: Sequence[str], path: str) -> dict[str, Any]:
    """What a request says of a document, as it is kept.

    Args:
        request: What has the fields.
        names: Those of them to read.
        path: Where they stand in the request, for errors.

    Raises:
        InvalidArgument: A text holds control characters, a folder is no path, or a time lies outside the
            calendar.
    """
    readers = {"title": _title, "folder": _folder, "tags": _tags, "expire_time": _expire_time}
    return {name: readers[name](request, f"{path}{name}") for name in names}


def comment(request: Any) -> str | None:
    """What a request says of a version; raises InvalidArgument where it holds control characters."""
    return text(request.comment, "comment", one_line=False) or None


def _title(request: Any, path: str) -> str | None:
    return _one_line(request.title, path) or None


def _folder(request: Any, path: str) -> str:
    parts = [_one_line(part, path) for part in request.folder.replace("\\", "/").split("/")]
    found = [part for part in parts if part]
    if len(found) > _MOST_FOLDERS or {".", ".."} & set(found):
        msg = f"A folder is a path such as contracts/2026, of at most {_MOST_FOLDERS} parts."
        raise InvalidArgument(msg, field=path)
    return "/".join(found)


def _tags(request: Any, path: str) -> list[str]:
    tags = [_one_line(tag, f"{path}[{index}]").casefold() for index, tag in enumerate(request.tags)]
    return list(dict.fromkeys(tag for tag in tags if tag))


def _expire_time(request: Any, path: str) -> datetime | None:
    if not request.HasField("expire_time"):
        return None
    try:
        time: datetime = request.expire_time.ToDatetime(UTC)
    except (ValueError, OverflowError):
        msg = f"{path} lies outside the years 1 to 9999."
        raise InvalidArgument(msg, field=path) from None
    return time


def _one_line(given: str, path: str) -> str:
    said = text(given, path, one_line=False)
    return " ".join(unicodedata.normalize("NFC", said).split())
