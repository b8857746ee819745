"""The rows of attachments, and what is told of them."""

from collections.abc import Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import attachment_pb2
from crmkit.call import Call
from crmkit.children.parents import Parent, event_message, publish
from crmkit.children.tables import ATTACHMENT
from crmkit.names import format_name
from crmkit.statements import Row, compile_statement

COLUMNS = tuple(ATTACHMENT.columns)
_CHANGED = ("version", "update_time", "delete_time", "purge_time")
_ID, _RECORD = sa.bindparam("id", type_=sa.Uuid), sa.bindparam("record", type_=sa.Uuid)
_by_name = sa.select(*COLUMNS).where(ATTACHMENT.c.id == _ID, ATTACHMENT.c.record == _RECORD)
FIND = compile_statement(_by_name)
LOCK = compile_statement(_by_name.with_for_update())
FIND_DELETED = compile_statement(
    sa.select(*COLUMNS)
    .where(ATTACHMENT.c.id == _ID, ATTACHMENT.c.delete_time.is_not(None))
    .with_for_update()
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
COUNT = compile_statement(
    sa.select(sa.func.count()).where(
        ATTACHMENT.c.record == _RECORD, ATTACHMENT.c.delete_time.is_(None)
    )
)
# So that two who add at once are counted one after the other; ends with the transaction.
TAKE_TURNS = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('attachments/' || :record, 0))")
)


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
    event.parent = parent.name
    subject = event.attachment.name
    await publish(call, parent, f"attachment.{past}", subject, row["version"], event)


def values(row: Row) -> dict[str, Any]:
    """A row by the names of its columns."""
    return dict(zip((column.name for column in COLUMNS), row, strict=True))


def name_of(row: Mapping[str, Any]) -> str:
    """The attachment's resource name."""
    return format_name(f"{row['collection']}/attachments", row["record"], row["id"])


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
    )


def key(service: str, attachment: UUID) -> str:
    """Where the bytes lie in the store; the last two digits keep folders small."""
    text = str(attachment)
    return f"{service}/{text[-2:]}/{text}"
