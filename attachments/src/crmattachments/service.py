"""AttachmentService: the same in every service, over its own collections."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.api import httpbody_pb2
from google.protobuf import empty_pb2

from crm.common.v1 import attachment_pb2
from crmattachments import documents, removal, rows
from crmattachments.adding import Files, first_of
from crmattachments.document_service import add
from crmattachments.downloads import download
from crmkit.call import Call
from crmkit.children.parents import Parent, Parents
from crmkit.children.tables import ATTACHMENT
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition
from crmkit.interceptors.idempotency import idempotent
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows

_NEWEST_FIRST = [Order("id", ATTACHMENT.c.id, descending=True)]
_Request = attachment_pb2.CreateAttachmentRequest


class AttachmentService:
    """A package's `AttachmentService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]], files: Files) -> None:
        """Takes the service's collections by name, and the process's files."""
        self._parents = Parents(collections)
        self._files = files

    async def CreateAttachment(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[_Request], call: Call
    ) -> attachment_pb2.Attachment:
        """Receives a file, keeps its bytes, then makes the attachment: a row never lacks its bytes."""
        first = await first_of(requests, "parent")
        await self._parents.find(call, first.parent, verb="update")
        row = await self._files.receive(call, first, requests, first.file_name)
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
            await rows.require_room(call, parent)
            await add(call, parent, row)
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
        query = sa.select(*rows.COLUMNS).where(ATTACHMENT.c.record.in_(parent.records))
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
        async for piece in download(call, self._files.store(call.home), row, request.name):
            yield piece

    async def DeleteAttachment(  # noqa: N802
        self, request: attachment_pb2.DeleteAttachmentRequest, call: Call
    ) -> attachment_pb2.Attachment:
        """Moves it to the trash; it is removed for good when the time of the trash is over."""
        parent, versions, row = await self._for_change(call, request.name)
        if row["delete_time"] is not None:
            msg = f"{request.name} is deleted already."
            raise FailedPrecondition(msg, reason="ALREADY_DELETED")
        before = dict(documents.current_of(versions))
        purge_time = call.now + timedelta(days=call.organization.trash_retention_days)
        row |= {"delete_time": call.now, "purge_time": purge_time}
        await removal.promise(call.tx, row["id"], purge_time)
        await rows.save(call, row)
        await rows.tell(call, parent, "deleted", row)
        await documents.follow(call, parent, before, versions)
        return rows.message(row)

    async def UndeleteAttachment(  # noqa: N802
        self, request: attachment_pb2.UndeleteAttachmentRequest, call: Call
    ) -> attachment_pb2.Attachment:
        """Takes it out of the trash."""
        parent, versions, row = await self._for_change(call, request.name)
        _require_deleted(row, request.name)
        await rows.require_room(call, parent)
        before = dict(documents.current_of(versions))
        if not await removal.take_back(call.tx, row["id"]):
            msg = f"{request.name} is being removed for good."
            raise FailedPrecondition(msg, reason="ALREADY_PURGED")
        row |= {"delete_time": None, "purge_time": None}
        await rows.save(call, row)
        await rows.tell(call, parent, "undeleted", row)
        await documents.follow(call, parent, before, versions)
        return rows.message(row)

    async def PurgeAttachment(  # noqa: N802
        self, request: attachment_pb2.PurgeAttachmentRequest, call: Call
    ) -> empty_pb2.Empty:
        """Removes it from the trash, and its bytes as soon as that is certain."""
        parent, versions, row = await self._for_change(call, request.name)
        _require_deleted(row, request.name)
        await call.tx.execute(rows.DELETE, {"id": row["id"]})
        await removal.hasten(call.tx, row["id"])
        await _tell_purged(call, parent, versions, row)
        return empty_pb2.Empty()

    async def remove(self, call: Call, arguments: dict[str, Any]) -> None:
        """The job: removes the bytes of what was never attached, or lay in the trash long enough.

        The bytes go first: a store cannot be called inside a transaction. What is half removed is still in
        the trash, where nobody can restore it any more, and the job is repeated.
        """
        id_ = UUID(arguments["attachment"])
        await self._files.store(call.home).delete(rows.key(call.home.name, id_))
        found = await call.tx.fetch_one(rows.FIND_DELETED, {"id": id_})
        if found is None:
            return
        versions = await documents.versions(call, rows.document_of(rows.values(found)))
        row = next((version for version in versions if version["id"] == id_), None)
        if row is None or row["delete_time"] is None:
            return
        await call.tx.execute(rows.DELETE, {"id": id_})
        parent = await self._parents.find(call, f"{row['collection']}/{row['record']}")
        await _tell_purged(call, parent, versions, row)

    async def _find(self, call: Call, name: str) -> dict[str, Any]:
        of, id_ = self._parents.split(name, "attachments", "name")
        parent = await self._parents.find(call, of, field="name")
        row = await call.reader.fetch_one(rows.FIND, {"id": id_, "records": parent.records})
        if row is None:
            raise parent.not_found(name)
        return rows.values(row)

    async def _for_change(
        self, call: Call, name: str
    ) -> tuple[Parent, list[dict[str, Any]], dict[str, Any]]:
        """The record, which the caller may update, the document's versions, locked, and the one named."""
        of, id_ = self._parents.split(name, "attachments", "name")
        parent = await self._parents.hold(call, of, verb="update", field="name")
        found = await call.tx.fetch_one(rows.FIND, {"id": id_, "records": parent.records})
        if found is None:
            raise parent.not_found(name)
        versions = await documents.versions(call, rows.document_of(rows.values(found)))
        row = next((version for version in versions if version["id"] == id_), None)
        if row is None:
            raise parent.not_found(name)
        return parent, versions, row


async def _tell_purged(
    call: Call, parent: Parent, versions: list[dict[str, Any]], row: dict[str, Any]
) -> None:
    """Publishes that a version is gone, and what its document is without it."""
    await rows.tell(call, parent, "purged", row | {"version": row["version"] + 1})
    rest = [version for version in versions if version is not row]
    await documents.follow(call, parent, documents.current_of(versions), rest)


def _require_deleted(row: dict[str, Any], name: str) -> None:
    if row["delete_time"] is None:
        msg = f"{name} is not deleted."
        raise FailedPrecondition(msg, reason="NOT_DELETED")
