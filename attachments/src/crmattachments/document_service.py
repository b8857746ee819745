"""DocumentService: the same in every service, over the attachments of its own collections."""

from collections.abc import AsyncIterator, Mapping
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from google.api import httpbody_pb2
from google.protobuf import empty_pb2

from crm.common.v1 import document_pb2
from crmattachments import documents, removal, rows
from crmattachments.adding import Files, first_of, take_back
from crmattachments.document_lists import page_of_documents, page_of_versions
from crmattachments.downloads import download
from crmkit.call import Call
from crmkit.children.parents import Parent, Parents
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition
from crmkit.etags import check_etag
from crmkit.fieldmask import masked_fields
from crmkit.interceptors.idempotency import idempotent

MOST_VERSIONS = 100
Document = document_pb2.Document


class DocumentService:
    """A package's `DocumentService`."""

    def __init__(self, collections: Mapping[str, Collection[Any]], files: Files) -> None:
        """Takes the service's collections by name, and the process's files."""
        self._parents = Parents(collections)
        self._files = files

    async def CreateDocument(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[document_pb2.CreateDocumentRequest], call: Call
    ) -> Document:
        """Receives a file, then makes it the first version of a document."""
        first = await first_of(requests, "parent")
        await self._parents.find(call, first.parent, verb="update")
        said = documents.said(first, documents.FIELDS, "")
        said["comment"] = documents.comment(first)
        row = await self._files.receive(call, first, requests, first.file_name)
        row |= said

        async def make(_asked: Any, call: Call) -> Document:
            parent = await self._parents.hold(call, first.parent, verb="update")
            row.update(collection=parent.collection.name, record=parent.record.id)
            await rows.require_room(call, parent)
            await add(call, parent, row)
            return documents.message(row)

        return await _once(call, first, row, make)

    async def AddDocumentVersion(  # noqa: N802
        self, requests: AsyncIterator[document_pb2.AddDocumentVersionRequest], call: Call
    ) -> Document:
        """Receives a file, then makes it the newest version of a document."""
        first = await first_of(requests, "name")
        before = await self._find(call, first.name, verb="update")
        _require_there(before, first.name)
        file_name = first.file_name or before["file_name"]
        comment = documents.comment(first)
        row = await self._files.receive(call, first, requests, file_name)
        row["comment"] = comment

        async def make(_asked: Any, call: Call) -> Document:
            parent, versions = await self._for_change(call, first.name, first.etag)
            current = documents.current_of(versions)
            _require_there(current, first.name)
            if sum(version["delete_time"] is None for version in versions) >= MOST_VERSIONS:
                msg = f"{first.name} has {MOST_VERSIONS} versions; delete one first."
                metadata = {"most": str(MOST_VERSIONS)}
                raise FailedPrecondition(msg, reason="TOO_MANY_VERSIONS", metadata=metadata)
            row.update(
                {name: current[name] for name in documents.INHERITED},
                document=rows.document_of(current),
                document_creator=current["document_creator"] or current["creator"],
                document_create_time=current["document_create_time"] or current["create_time"],
                version_number=versions[-1]["version_number"] + 1,
            )
            await take_back(call, row)
            await call.tx.execute(rows.INSERT, row)
            await rows.tell(call, parent, "created", row)
            await documents.store(call, parent, row, "updated", ["current_version"])
            return documents.message(row)

        return await _once(call, first, row, make)

    async def GetDocument(  # noqa: N802
        self, request: document_pb2.GetDocumentRequest, call: Call
    ) -> Document:
        """One document, deleted or not."""
        return documents.message(await self._find(call, request.name))

    async def ListDocuments(  # noqa: N802
        self, request: document_pb2.ListDocumentsRequest, call: Call
    ) -> document_pb2.ListDocumentsResponse:
        """The documents of a record, or of all records of a kind."""
        found, token = await page_of_documents(call, self._parents, request)
        messages = [documents.message(row) for row in found]
        return document_pb2.ListDocumentsResponse(documents=messages, next_page_token=token)

    async def ListDocumentVersions(  # noqa: N802
        self, request: document_pb2.ListDocumentVersionsRequest, call: Call
    ) -> document_pb2.ListDocumentVersionsResponse:
        """The versions of a document, newest first."""
        current = await self._find(call, request.parent, field="parent")
        found, token = await page_of_versions(call, rows.document_of(current), request)
        versions = [rows.message(row) for row in found]
        return document_pb2.ListDocumentVersionsResponse(versions=versions, next_page_token=token)

    async def DownloadDocument(  # noqa: N802
        self, request: document_pb2.DownloadDocumentRequest, call: Call
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """The newest version's file in pieces."""
        row = await self._find(call, request.name)
        async for piece in download(call, self._files.store(call.home), row, request.name):
            yield piece

    async def UpdateDocument(  # noqa: N802
        self, request: document_pb2.UpdateDocumentRequest, call: Call
    ) -> Document:
        """Renames or moves a document, changes its tags or until when it holds."""
        asked = request.document
        names = masked_fields(request.update_mask.paths, asked, documents.FIELDS)
        said = documents.said(asked, names, "document.")
        name = asked.name
        parent, versions = await self._for_change(call, name, asked.etag, field="document.name")
        row = documents.current_of(versions)
        _require_there(row, name)
        changed = [name for name in names if row[name] != said[name]]
        if changed:
            row |= said
            await documents.store(call, parent, row, "updated", changed)
            if "expire_time" in changed:
                await documents.promise_expiry(call, row)
        return documents.message(row)

    async def DeleteDocument(  # noqa: N802
        self, request: document_pb2.DeleteDocumentRequest, call: Call
    ) -> Document:
        """Moves a document with all its versions to the trash."""
        parent, versions = await self._for_change(call, request.name, request.etag)
        before = dict(documents.current_of(versions))
        if before["delete_time"] is not None:
            msg = f"{request.name} is deleted already."
            raise FailedPrecondition(msg, reason="ALREADY_DELETED")
        purge_time = call.now + timedelta(days=call.organization.trash_retention_days)
        for row in versions:
            if row["delete_time"] is None:
                row |= {"delete_time": call.now, "purge_time": purge_time}
                await removal.promise(call.tx, row["id"], purge_time)
                await rows.save(call, row)
                await rows.tell(call, parent, "deleted", row)
        await documents.follow(call, parent, before, versions)
        return documents.message(documents.current_of(versions))

    async def UndeleteDocument(  # noqa: N802
        self, request: document_pb2.UndeleteDocumentRequest, call: Call
    ) -> Document:
        """Takes a document out of the trash, with the versions that were deleted with it."""
        parent, versions = await self._for_change(call, request.name)
        before = dict(documents.current_of(versions))
        _require_deleted(before, request.name)
        await rows.require_room(call, parent)
        for row in versions:
            together = row["delete_time"] == before["delete_time"]
            if together and await removal.take_back(call.tx, row["id"]):
                row |= {"delete_time": None, "purge_time": None}
                await rows.save(call, row)
                await rows.tell(call, parent, "undeleted", row)
        after = documents.current_of(versions)
        if after["delete_time"] is not None:
            msg = f"{request.name} is being removed for good."
            raise FailedPrecondition(msg, reason="ALREADY_PURGED")
        await documents.follow(call, parent, before, versions)
        await documents.promise_expiry(call, after)
        return documents.message(after)

    async def PurgeDocument(  # noqa: N802
        self, request: document_pb2.PurgeDocumentRequest, call: Call
    ) -> empty_pb2.Empty:
        """Removes a document from the trash, and the bytes of its versions."""
        parent, versions = await self._for_change(call, request.name)
        before = documents.current_of(versions)
        _require_deleted(before, request.name)
        for row in versions:
            await call.tx.execute(rows.DELETE, {"id": row["id"]})
            await removal.hasten(call.tx, row["id"])
            await rows.tell(call, parent, "purged", row | {"version": row["version"] + 1})
        await documents.follow(call, parent, before, [])
        return empty_pb2.Empty()

    async def expire(self, call: Call, arguments: dict[str, Any]) -> None:
        """The job at a document's time: publishes `document.expired`, unless that no longer holds."""
        versions = await documents.versions(call, UUID(arguments["document"]))
        row = documents.current_of(versions) if versions else None
        time = datetime.fromisoformat(arguments["time"])
        if row is None or row["delete_time"] is not None or row["expire_time"] != time:
            return
        parent = await self._parents.find(call, f"{row['collection']}/{row['record']}")
        if parent.record.delete_time is None:
            await documents.store(call, parent, row, "expired")

    async def _find(
        self, call: Call, name: str, *, verb: str = "get", field: str = "name"
    ) -> dict[str, Any]:
        """A document's current version, deleted or not."""
        of, id_ = self._parents.split(name, "documents", field)
        parent = await self._parents.find(call, of, verb=verb, field=field)
        row = await call.reader.fetch_one(documents.CURRENT, {"id": id_, "records": parent.records})
        if row is None or rows.document_of(rows.values(row)) != id_:
            raise parent.not_found(name)
        return rows.values(row)

    async def _for_change(
        self, call: Call, name: str, etag: str = "", *, field: str = "name"
    ) -> tuple[Parent, list[dict[str, Any]]]:
        """A document's versions, locked, with its record, which the caller may update."""
        of, id_ = self._parents.split(name, "documents", field)
        parent = await self._parents.hold(call, of, verb="update", field=field)
        versions = await documents.versions(call, id_)
        known = [row for row in versions if row["record"] in parent.records]
        if not known or rows.document_of(known[0]) != id_:
            raise parent.not_found(name)
        check_etag(name, etag, known[0]["document_version"])
        return parent, known


async def add(call: Call, parent: Parent, row: dict[str, Any]) -> None:
    """Stores the first version of a document."""
    await take_back(call, row)
    await call.tx.execute(rows.INSERT, row)
    await rows.tell(call, parent, "created", row)
    await documents.tell(call, parent, "created", row)
    await documents.promise_expiry(call, row)


async def _once(call: Call, first: Any, row: dict[str, Any], make: Any) -> Document:
    """The transaction that makes a version, once for each request id: the bytes count by their digest."""
    assert call.method is not None  # only requests come here
    asked = type(first)()
    asked.CopyFrom(first)
    asked.file.CopyFrom(httpbody_pb2.HttpBody(data=row["sha256"]))
    answer: Document = await idempotent(call.method, make)(asked, call)
    return answer


def _require_there(row: dict[str, Any], name: str) -> None:
    if row["delete_time"] is not None:
        msg = f"{name} is deleted; restore it first."
        raise FailedPrecondition(msg, reason="DOCUMENT_DELETED")


def _require_deleted(row: dict[str, Any], name: str) -> None:
    if row["delete_time"] is None:
        msg = f"{name} is not deleted."
        raise FailedPrecondition(msg, reason="NOT_DELETED")
