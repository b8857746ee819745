"""AttachmentService: the same in every service, over its own collections."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.api import httpbody_pb2
from google.protobuf import empty_pb2

from crm.common.v1 import attachment_pb2
from crmattachments import file_names, removal, rows
from crmattachments.content_types import served_as, sniff
from crmattachments.receiving import Received, Room
from crmattachments.store import FileStore, file_store
from crmkit.call import Call, Home
from crmkit.children.parents import Parent, Parents
from crmkit.children.tables import ATTACHMENT
from crmkit.collection import Collection
from crmkit.errors import Aborted, FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.interceptors.idempotency import idempotent
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows

MOST_PER_RECORD = 100
_ABANDONED_AFTER = timedelta(hours=1)  # longer than storing a file takes
_NEWEST_FIRST = [Order("id", ATTACHMENT.c.id, descending=True)]
# A page of another origin in a sandbox, even if a browser should show what it is told to save.
_SAFE_HEADERS = (
    ("x-content-type-options", "nosniff"),
    ("content-security-policy", "default-src 'none'; sandbox"),
    ("cross-origin-resource-policy", "same-site"),
)
_Request = attachment_pb2.CreateAttachmentRequest


class AttachmentService:
    """A package's `AttachmentService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._parents = Parents(collections)
        self._store: FileStore | None = None
        self._room = Room()

    def _files(self, home: Home) -> FileStore:
        if self._store is None:
            self._store = file_store(home.settings)
        return self._store

    async def CreateAttachment(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[_Request], call: Call
    ) -> attachment_pb2.Attachment:
        """Receives a file, keeps its bytes, then makes the attachment: a row never lacks its bytes."""
        first = await anext(requests, None)
        if first is None:
            msg = "parent is required."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="parent")
        _refuse_form(first)
        await self._parents.find(call, first.parent, verb="update")
        store, file_name = self._files(call.home), file_names.cleaned(first.file_name)
        most_mib = call.home.settings.attachments_max_mib
        async with self._room.receive(first, requests, most_mib) as received:
            suffix = file_names.suffix(file_name)
            content_type = sniff(received.head, suffix, is_text=received.is_text)
            id_ = uuid7()
            async with call.home.database.transaction() as tx:
                await removal.promise(tx, id_, call.now + _ABANDONED_AFTER)
            await store.put(rows.key(call.home.name, id_), received.file)
        row = _new_row(call, id_, file_name, content_type, received)
        return await self._attach(call, first, row)

    async def _attach(
        self, call: Call, first: _Request, row: dict[str, Any]
    ) -> attachment_pb2.Attachment:
        """The transaction that makes the attachment, once for each request id."""
        assert call.method is not None  # only requests come here
        asked = _Request(
            parent=first.parent,
            file_name=first.file_name,
            file=httpbody_pb2.HttpBody(data=row["sha256"]),
            request_id=first.request_id,
        )

        async def attach(_asked: _Request, call: Call) -> attachment_pb2.Attachment:
            parent = await self._parents.hold(call, first.parent, verb="update")
            row.update(collection=parent.collection.name, record=parent.record.id)
            await _require_room(call, parent)
            if not await removal.take_back(call.tx, row["id"]):
                msg = "The file arrived too slowly; send it again."
                raise Aborted(msg, reason="UPLOAD_TOO_SLOW")
            await call.tx.execute(rows.INSERT, row)
            await rows.tell(call, parent, "created", row)
            return rows.message(row)

        answer: attachment_pb2.Attachment = await idempotent(call.method, attach)(asked, call)
        return answer

    async def GetAttachment(  # noqa: N802
        self, request: attachment_pb2.GetAttachmentRequest, call: Call
    ) -> attachment_pb2.Attachment:
        """One attachment, deleted or not."""
        return rows.message(await self._find(call, request.name))

    async def ListAttachments(  # noqa: N802
        self, request: attachment_pb2.ListAttachmentsRequest, call: Call
    ) -> attachment_pb2.ListAttachmentsResponse:
        """The attachments of a record, newest first."""
        parent = await self._parents.find(call, request.parent)
        query = sa.select(*rows.COLUMNS).where(ATTACHMENT.c.record == parent.record.id)
        if not request.show_deleted:
            query = query.where(ATTACHMENT.c.delete_time.is_(None))
        bound_to = f"attachments/{parent.name}/{request.show_deleted}"
        found, token = await page_of_rows(call, query, _NEWEST_FIRST, request, bound_to)
        attachments = [rows.message(rows.values(row)) for row in found]
        return attachment_pb2.ListAttachmentsResponse(
            attachments=attachments, next_page_token=token
        )

    async def DownloadAttachment(  # noqa: N802
        self, request: attachment_pb2.DownloadAttachmentRequest, call: Call
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """The file in pieces, to be saved and never shown as a page of ours."""
        row = await self._find(call, request.name)
        if row["delete_time"] is not None:
            msg = f"{request.name} is deleted; restore it first."
            raise FailedPrecondition(msg, reason="ATTACHMENT_DELETED")
        store = self._files(call.home)
        content_type = served_as(row["content_type"])
        headers = [("content-disposition", file_names.content_disposition(row["file_name"]))]
        async for piece in store.get(rows.key(call.home.name, row["id"])):
            if headers:  # only once there is a file: an error is answered without them
                call.response_headers += [*headers, *_SAFE_HEADERS]
                headers = []
            yield httpbody_pb2.HttpBody(content_type=content_type, data=piece)

    async def DeleteAttachment(  # noqa: N802
        self, request: attachment_pb2.DeleteAttachmentRequest, call: Call
    ) -> attachment_pb2.Attachment:
        """Moves it to the trash; it is removed for good when the time of the trash is over."""
        parent, row = await self._for_change(call, request.name)
        if row["delete_time"] is not None:
            msg = f"{request.name} is deleted already."
            raise FailedPrecondition(msg, reason="ALREADY_DELETED")
        purge_time = call.now + timedelta(days=call.organization.trash_retention_days)
        row |= {"delete_time": call.now, "purge_time": purge_time}
        await removal.promise(call.tx, row["id"], purge_time)
        return await _changed(call, parent, "deleted", row)

    async def UndeleteAttachment(  # noqa: N802
        self, request: attachment_pb2.UndeleteAttachmentRequest, call: Call
    ) -> attachment_pb2.Attachment:
        """Takes it out of the trash."""
        parent, row = await self._for_change(call, request.name)
        _require_deleted(row, request.name)
        await _require_room(call, parent)
        if not await removal.take_back(call.tx, row["id"]):
            msg = f"{request.name} is being removed for good."
            raise FailedPrecondition(msg, reason="ALREADY_PURGED")
        row |= {"delete_time": None, "purge_time": None}
        return await _changed(call, parent, "undeleted", row)

    async def PurgeAttachment(  # noqa: N802
        self, request: attachment_pb2.PurgeAttachmentRequest, call: Call
    ) -> empty_pb2.Empty:
        """Removes it from the trash, and its bytes as soon as that is certain."""
        parent, row = await self._for_change(call, request.name)
        _require_deleted(row, request.name)
        await call.tx.execute(rows.DELETE, {"id": row["id"]})
        await removal.hasten(call.tx, row["id"])
        row["version"] += 1
        await rows.tell(call, parent, "purged", row)
        return empty_pb2.Empty()

    async def remove(self, call: Call, arguments: dict[str, Any]) -> None:
        """The job: removes the bytes of what was never attached, or lay in the trash long enough.

        The bytes go first: a store cannot be called inside a transaction. What is half removed is still in
        the trash, where nobody can restore it any more, and the job is repeated.
        """
        id_ = UUID(arguments["attachment"])
        await self._files(call.home).delete(rows.key(call.home.name, id_))
        found = await call.tx.fetch_one(rows.FIND_DELETED, {"id": id_})
        if found is None:
            return
        row = rows.values(found)
        await call.tx.execute(rows.DELETE, {"id": id_})
        parent = await self._parents.find(call, f"{row['collection']}/{row['record']}")
        row["version"] += 1
        await rows.tell(call, parent, "purged", row)

    async def _find(self, call: Call, name: str) -> dict[str, Any]:
        of, id_ = self._parents.split(name, "attachments", "name")
        parent = await self._parents.find(call, of, field="name")
        row = await call.reader.fetch_one(rows.FIND, {"id": id_, "record": parent.record.id})
        if row is None:
            raise parent.not_found(name)
        return rows.values(row)

    async def _for_change(self, call: Call, name: str) -> tuple[Parent, dict[str, Any]]:
        """An attachment, locked, with its record, which the caller may update."""
        of, id_ = self._parents.split(name, "attachments", "name")
        parent = await self._parents.hold(call, of, verb="update", field="name")
        row = await call.tx.fetch_one(rows.LOCK, {"id": id_, "record": parent.record.id})
        if row is None:
            raise parent.not_found(name)
        return parent, rows.values(row)


def _refuse_form(first: _Request) -> None:
    """Raises InvalidArgument for a form with a file in it, which would be kept as it stands."""
    if first.file.content_type.lower().startswith("multipart/"):
        msg = "file must be the file's bytes themselves, not a form that holds it."
        raise InvalidArgument(msg, field="file")


def _new_row(
    call: Call, id_: UUID, file_name: str, content_type: str, received: Received
) -> dict[str, Any]:
    return {
        "id": id_,
        "version": 1,
        "creator": call.principal.name,
        "create_time": call.now,
        "update_time": call.now,
        "delete_time": None,
        "purge_time": None,
        "file_name": file_name,
        "content_type": content_type,
        "size_bytes": received.size_bytes,
        "sha256": received.sha256,
    }


async def _require_room(call: Call, parent: Parent) -> None:
    """Raises FailedPrecondition if the record has as many attachments as it may have."""
    await call.tx.execute(rows.TAKE_TURNS, {"record": str(parent.record.id)})
    row = await call.tx.fetch_one(rows.COUNT, {"record": parent.record.id})
    if row is not None and row[0] >= MOST_PER_RECORD:
        msg = f"{parent.name} has {MOST_PER_RECORD} attachments; delete one first."
        metadata = {"most": str(MOST_PER_RECORD)}
        raise FailedPrecondition(msg, reason="TOO_MANY_ATTACHMENTS", metadata=metadata)


def _require_deleted(row: dict[str, Any], name: str) -> None:
    if row["delete_time"] is None:
        msg = f"{name} is not deleted."
        raise FailedPrecondition(msg, reason="NOT_DELETED")


async def _changed(
    call: Call, parent: Parent, past: str, row: dict[str, Any]
) -> attachment_pb2.Attachment:
    await rows.save(call, row)
    await rows.tell(call, parent, past, row)
    return rows.message(row)
