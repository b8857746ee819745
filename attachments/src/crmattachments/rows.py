"""The rows of attachments, and what is told of them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import attachment_pb2
from crmattachments.receiving import Received
from crmkit.call import Call
from crmkit.children.parents import Parent, event_message, publish
from crmkit.children.tables import ATTACHMENT
from crmkit.errors import FailedPrecondition
from crmkit.names import format_name
from crmkit.statements import Row, compile_statement

COLUMNS = tuple(ATTACHMENT.columns)
_CHANGED = ("version", "update_time", "delete_time", "purge_time")
MOST_PER_RECORD = 100
_ID, _RECORD = sa.bindparam("id", type_=sa.Uuid), sa.bindparam("record", type_=sa.Uuid)
RECORDS = sa.bindparam("records", type_=sa.ARRAY(sa.Uuid))  # of a record: `Parent.records`
FIND = compile_statement(
    sa.select(*COLUMNS).where(ATTACHMENT.c.id == _ID, ATTACHMENT.c.record == sa.any_(RECORDS))
)
FIND_DELETED = compile_statement(
    sa.select(*COLUMNS).where(ATTACHMENT.c.id == _ID, ATTACHMENT.c.delete_time.is_not(None))
)
INSERT = compile_statement(
    ATTACHMENT.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in COLUMNS})
)
DELETE = compile_statement(sa.delete(ATTACHMENT).where(ATTACHMENT.c.id == _ID))
_UPDATE = compile_statement(
    sa.update(ATTACHMENT)
    .where(ATTACHMENT.c.id == _ID)
    .values({n: sa.bindparam(f"new_{n}", type_=ATTACHMENT.c[n].type) for n in _CHANGED})
)
_COUNT = compile_statement(
    sa.select(sa.func.count()).where(
        ATTACHMENT.c.record == _RECORD,
        ATTACHMENT.c.delete_time.is_(None),
        ATTACHMENT.c.is_current,  # the versions of a document count once
    )
)
# So that two who add at once are counted one after the other; ends with the transaction.
_TAKE_TURNS = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('attachments/' || :record, 0))")
)


def new(
    call: Call, id_: UUID, file_name: str, content_type: str, received: Received
) -> dict[str, Any]:
    """The row of a file that has arrived, of no record yet: the first version of a document."""
    return dict.fromkeys(column.name for column in COLUMNS) | {
        "id": id_,
        "version": 1,
        "creator": call.principal.name,
        "create_time": call.now,
        "update_time": call.now,
        "file_name": file_name,
        "content_type": content_type,
        "size_bytes": received.size_bytes,
        "sha256": received.sha256,
        "version_number": 1,
        "is_current": True,
        "document_version": 1,
        "folder": "",
        "tags": [],
    }


async def require_room(call: Call, parent: Parent) -> None:
    """Raises FailedPrecondition if the record has as many attachments as it may have."""
    await call.tx.execute(_TAKE_TURNS, {"record": str(parent.record.id)})
    row = await call.tx.fetch_one(_COUNT, {"record": parent.record.id})
    if row is not None and row[0] >= MOST_PER_RECORD:
        msg = f"{parent.name} has {MOST_PER_RECORD} attachments; delete one first."
        metadata = {"most": str(MOST_PER_RECORD)}
        raise FailedPrecondition(msg, reason="TOO_MANY_ATTACHMENTS", metadata=metadata)


async def save(call: Call, row: dict[str, Any]) -> None:
    """Stores what has changed as the next version."""
    row |= {"version": row["version"] + 1, "update_time": call.now}
    await call.tx.execute(_UPDATE, {"id": row["id"]} | {f"new_{n}": row[n] for n in _CHANGED})


async def tell(call: Call, parent: Parent, past: str, row: Mapping[str, Any]) -> None:
    """Publishes a version: without the file's name, which may be a person's, and its digest."""
    event = event_message(call.home.name, f"attachment.{past}")
    event.attachment.CopyFrom(message(row))
    event.attachment.ClearField("file_name")
    event.attachment.ClearField("sha256")
    event.attachment.ClearField("comment")
    event.parent = parent.name
    subject = event.attachment.name
    await publish(call, parent, f"attachment.{past}", subject, row["version"], event)


def values(row: Row) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip((column.name for column in COLUMNS), row, strict=True))


def name_of(row: Mapping[str, Any]) -> str:
    """The attachment's resource name."""
    return format_name(f"{row['collection']}/attachments", row["record"], row["id"])


def document_of(row: Mapping[str, Any]) -> UUID:
    """The id of the document that it is a version of."""
    id_: UUID = row["document"] or row["id"]
    return id_


def document_name(row: Mapping[str, Any]) -> str:
    """The resource name of the document that it is a version of."""
    return format_name(f"{row['collection']}/documents", row["record"], document_of(row))


def message(row: Mapping[str, Any]) -> attachment_pb2.Attachment:
    """The attachment as clients see it."""
    return attachment_pb2.Attachment(
        name=name_of(row),
        creator=row["creator"],
        create_time=row["create_time"],
        update_time=row["update_time"],
        delete_time=row["delete_time"],
        purge_time=row["purge_time"],
        file_name=row["file_name"],
        content_type=row["content_type"],
        size_bytes=row["size_bytes"],
        sha256=bytes(row["sha256"]).hex(),
        document=document_name(row),
        version_number=row["version_number"],
        comment=row["comment"] or "",
    )


def key(service: str, attachment: UUID) -> str:
    """Where the bytes lie in the store; the last two digits keep folders small."""
    text = str(attachment)
    return f"{service}/{text[-2:]}/{text}"
