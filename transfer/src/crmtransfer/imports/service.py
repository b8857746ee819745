"""ImportService: the same in every service, over its own collections."""

from collections.abc import AsyncIterator, Mapping
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from google.api import httpbody_pb2

from crm.common.v1 import import_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound
from crmkit.ids import uuid7
from crmkit.job_tables import IMPORT, IMPORT_ISSUE
from crmkit.jobs import JobHandler, enqueue
from crmkit.names import format_name, parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.sensitive import refuse_hidden
from crmtransfer.imports import encodings, rejected, runs, uploads
from crmtransfer.imports.batch import Policy, hidden_from
from crmtransfer.imports.files import File
from crmtransfer.imports.job import ImportJob
from crmtransfer.imports.mapping import Mapper
from crmtransfer.imports.proposals import Proposer, looked_up, read_columns
from crmtransfer.running import ACTIVE, standard_rpc

_JOB = "import"
_NEWEST_FIRST = [Order("id", IMPORT.c.id, descending=True)]
_BY_ROW = [
    Order("row", IMPORT_ISSUE.c.row, descending=False),
    Order("index", IMPORT_ISSUE.c.index, descending=False),
]


class ImportService:
    """Sends files up, starts imports and shows how they go."""

    def __init__(self, service_name: str, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._service = service_name
        self._collections = {
            name: c
            for name, c in collections.items()
            if c.importable and standard_rpc(c, c.made_by)
        }
        self._all = collections

    def job_handlers(self) -> dict[str, JobHandler]:
        """The handler of the jobs that imports are."""
        return {_JOB: ImportJob(self._all)}

    async def CreateUpload(  # noqa: N802 - the contract's name
        self, requests: AsyncIterator[import_pb2.CreateUploadRequest], call: Call
    ) -> import_pb2.Upload:
        """Keeps a file."""
        upload, size = await uploads.receive(requests, call)
        return import_pb2.Upload(name=format_name("uploads", upload), size_bytes=size)

    async def ProposeMappings(  # noqa: N802
        self, request: import_pb2.ProposeMappingsRequest, call: Call
    ) -> import_pb2.ProposeMappingsResponse:
        """Which column may fill which field."""
        collection = self._importable(request.resource, "resource")
        upload = await _whole_upload(call, request.upload, "upload")
        file = File(
            call.home.database,
            upload,
            import_pb2.Import(
                resource=request.resource,
                sheet=request.sheet,
                encoding=encodings.checked(request.encoding, "encoding"),
            ),
        )
        try:
            columns = await read_columns(file)
        except InvalidArgument as error:
            raise InvalidArgument(error.message, reason=error.reason, field="upload") from None
        history = call.principal.grants.scope(collection.permission("import_history"))
        proposer = Proposer(
            collection,
            call.home.custom_fields.of(collection.name),
            history=bool(history),
            hidden=hidden_from(call.principal, collection),
        )
        proposals = await looked_up(call, self._all, proposer, proposer.propose(columns))
        answers = [proposal.answer() for proposal in proposals]
        return import_pb2.ProposeMappingsResponse(columns=answers)

    def _importable(self, resource: str, field: str) -> Collection[Any]:
        collection = self._collections.get(resource)
        if collection is None:
            known = ", ".join(sorted(self._collections))
            msg = f"{resource} cannot be imported here; what can is {known}."
            raise InvalidArgument(msg, field=field)
        return collection

    async def CreateImport(  # noqa: N802
        self, request: import_pb2.CreateImportRequest, call: Call
    ) -> import_pb2.Import:
        """Promises an import, in one transaction with its job."""
        wanted = getattr(request, "import")
        collection = self._importable(wanted.resource, "import.resource")
        mapper = Mapper(
            collection,
            wanted.mappings,
            call.home.custom_fields.of(collection.name),
            hidden=hidden_from(call.principal, collection),
        )
        _require_rights(call, collection, mapper, wanted.duplicate_policy)
        upload = await _whole_upload(call, wanted.upload, "import.upload")
        specification = import_pb2.Import(
            resource=wanted.resource,
            upload=wanted.upload,
            mappings=wanted.mappings,
            duplicate_policy=wanted.duplicate_policy or Policy.SKIP,
            validate_only=wanted.validate_only,
            sheet=wanted.sheet,
            encoding=encodings.checked(wanted.encoding, "import.encoding"),
            source=wanted.source,
        )
        await rejected.delete_old(call.home.database, call.now)
        run = runs.new_run(uuid7(), call.principal, upload, specification, call.now)
        await runs.insert(call.tx, run)
        await enqueue(call.tx, _JOB, {"import": str(run.id)}, job_id=run.id)
        return run.message()

    async def GetImport(  # noqa: N802
        self, request: import_pb2.GetImportRequest, call: Call
    ) -> import_pb2.Import:
        """An import with its progress."""
        return (await self._find(call, request.name, "name")).message()

    async def _find(self, call: Call, name: str, field: str) -> runs.Run:
        id_ = parse_name(name, collection="imports", field=field)
        run = await runs.find(call.reader, id_)
        if run is None or not (self._sees_all(call) or run.creator == call.principal.user):
            raise _not_found(name)
        return run

    def _sees_all(self, call: Call) -> bool:
        assert call.method is not None
        return call.principal.require(call.method.permission) is RecordScope.ALL

    async def ListImports(  # noqa: N802
        self, request: import_pb2.ListImportsRequest, call: Call
    ) -> import_pb2.ListImportsResponse:
        """The caller's imports, newest first; everyone's with the scope ALL."""
        query = sa.select(*runs.RUN_COLUMNS)
        if not self._sees_all(call):
            query = query.where(IMPORT.c.creator == call.principal.user)
        rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, "imports")
        messages = [runs.run_of(row).message() for row in rows]
        return import_pb2.ListImportsResponse(imports=messages, next_page_token=token)

    async def CancelImport(  # noqa: N802
        self, request: import_pb2.CancelImportRequest, call: Call
    ) -> import_pb2.Import:
        """Stops an import after the rows at hand."""
        found = await self._find(call, request.name, "name")
        run = await runs.lock(call.tx, found.id)
        if run is None:
            raise _not_found(request.name)
        if run.state not in ACTIVE:
            msg = f"The import has ended: it is {run.state}."
            raise FailedPrecondition(
                msg,
                reason="ILLEGAL_TRANSITION",
                metadata={"state": run.state, "allowed_methods": ""},
            )
        await runs.end(call.tx, run, "CANCELLED")
        cancelled = await runs.find(call.tx, run.id)
        assert cancelled is not None
        return cancelled.message()

    async def ListImportIssues(  # noqa: N802
        self, request: import_pb2.ListImportIssuesRequest, call: Call
    ) -> import_pb2.ListImportIssuesResponse:
        """What was wrong with rows, in their order."""
        run = await self._find(call, request.parent, "parent")
        query = sa.select(*runs.ISSUE_COLUMNS).where(getattr(IMPORT_ISSUE.c, "import") == run.id)
        rows, token = await page_of_rows(call, query, _BY_ROW, request, run.name)
        messages = [runs.issue_message(row[:5]) for row in rows]
        return import_pb2.ListImportIssuesResponse(issues=messages, next_page_token=token)

    async def DownloadRejectedRows(  # noqa: N802
        self, request: import_pb2.DownloadRejectedRowsRequest, call: Call
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """The rows that failed with what is wrong with them, in pieces."""
        run = await self._find(call, request.name, "name")
        _require_rejected_rows(run)
        if run.creator != call.principal.user:
            collection = self._all[run.specification.resource]
            unseen = hidden_from(call.principal, collection)
            refuse_hidden(collection.contract, collection.contract.sensitive, unseen)
        file_name = f"{run.specification.resource}-rejected.csv"
        call.response_headers.append(("content-disposition", f'attachment; filename="{file_name}"'))
        empty = True
        async for piece in rejected.file(call.home.database, run.id):
            empty = False
            yield httpbody_pb2.HttpBody(content_type="text/csv; charset=utf-8", data=piece)
        if empty:
            days = rejected.KEPT_FOR.days
            msg = f"Rejected rows are kept for {days} days; import the file again."
            raise FailedPrecondition(msg, reason="REJECTED_ROWS_EXPIRED")


def _require_rejected_rows(run: runs.Run) -> None:
    if run.state in ACTIVE:
        msg = "The import has not ended yet."
        raise FailedPrecondition(msg, reason="IMPORT_NOT_ENDED", metadata={"state": run.state})
    if not run.row["failed_count"]:
        msg = "No row of this import failed."
        raise FailedPrecondition(msg, reason="NO_REJECTED_ROWS")


async def _whole_upload(call: Call, name: str, field: str) -> UUID:
    upload = parse_name(name, collection="uploads", field=field)
    if not await uploads.is_complete(call, upload):
        raise _not_found(name)
    return upload


def _require_rights(call: Call, collection: Collection[Any], mapper: Mapper, policy: int) -> None:
    call.principal.require(collection.permission("create"))
    if policy == Policy.UPDATE:
        call.principal.require(collection.permission("update"))
    if mapper.sets_history:
        call.principal.require(collection.permission("import_history"))


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})
