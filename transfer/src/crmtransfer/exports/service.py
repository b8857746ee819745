"""ExportService: the same in every service, over its own collections."""

from collections.abc import AsyncIterator, Mapping
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from google.api import httpbody_pb2

from crm.common.v1 import export_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound, Violation
from crmkit.ids import uuid7
from crmkit.job_tables import EXPORT
from crmkit.jobs import JobHandler, enqueue
from crmkit.names import parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.sensitive import refuse_hidden
from crmtransfer.exports import runs, vcards
from crmtransfer.exports.columns import all_fields, columns_of
from crmtransfer.exports.job import ExportJob, hidden_from, list_rpc
from crmtransfer.running import ACTIVE

_JOB = "export"
_KEPT_FOR = timedelta(days=7)
# File name's ending and media type; an export that was asked for before there were formats is CSV.
_CSV = ("csv", "text/csv; charset=utf-8")
_FORMATS = {
    export_pb2.Export.FORMAT_UNSPECIFIED: _CSV,
    export_pb2.Export.CSV: _CSV,
    export_pb2.Export.VCARD: ("vcf", "text/vcard; charset=utf-8"),
    export_pb2.Export.XLSX: (
        "xlsx",
        "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ),
}
_TEXT = {export_pb2.Export.FORMAT_UNSPECIFIED, export_pb2.Export.CSV}
_NEWEST_FIRST = [Order("id", EXPORT.c.id, descending=True)]


class ExportService:
    """Starts exports, shows how they go and hands out their files."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        """Takes the service's collections by name."""
        self._collections = {name: c for name, c in collections.items() if list_rpc(c)}

    def job_handlers(self) -> dict[str, JobHandler]:
        """The handler of the jobs that exports are."""
        return {_JOB: ExportJob(self._collections)}

    async def CreateExport(self, request: export_pb2.CreateExportRequest, call: Call) -> Any:  # noqa: N802
        """Promises an export, in one transaction with its job."""
        wanted = request.export
        collection = self._collections.get(wanted.resource)
        if collection is None:
            known = ", ".join(sorted(self._collections))
            msg = f"{wanted.resource} cannot be exported here; what can is {known}."
            raise InvalidArgument(msg, field="export.resource")
        call.principal.require(collection.permission("list"))
        unseen = hidden_from(call, collection)
        _check(call, collection, wanted, unseen)
        await runs.delete_files(call.home.database, call.now - _KEPT_FOR)
        specification = export_pb2.Export(
            resource=wanted.resource,
            filter=wanted.filter,
            order_by=wanted.order_by,
            # Said out loud where it is not all there is: whether a file holds what is hidden from some.
            fields=wanted.fields or (all_fields(collection, unseen) if unseen else ()),
            format=wanted.format or export_pb2.Export.CSV,
            byte_order_mark=wanted.byte_order_mark,
        )
        run = runs.new_run(uuid7(), call.principal, specification, call.now)
        await runs.insert(call.tx, run)
        await enqueue(call.tx, _JOB, {"export": str(run.id)}, job_id=run.id)
        return run.message()

    async def GetExport(self, request: export_pb2.GetExportRequest, call: Call) -> Any:  # noqa: N802
        """An export with its progress."""
        return (await self._find(call, request.name)).message()

    async def _find(self, call: Call, name: str) -> runs.Run:
        run = await runs.find(call.reader, parse_name(name, collection="exports", field="name"))
        if run is None or not (_sees_all(call) or run.creator == call.principal.user):
            raise _not_found(name)
        return run

    async def ListExports(self, request: export_pb2.ListExportsRequest, call: Call) -> Any:  # noqa: N802
        """The caller's exports, newest first; everyone's with the scope ALL."""
        query = sa.select(*runs.RUN_COLUMNS)
        if not _sees_all(call):
            query = query.where(EXPORT.c.creator == call.principal.user)
        rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, "exports")
        messages = [runs.run_of(row).message() for row in rows]
        return export_pb2.ListExportsResponse(exports=messages, next_page_token=token)

    async def CancelExport(self, request: export_pb2.CancelExportRequest, call: Call) -> Any:  # noqa: N802
        """Stops an export after the page at hand."""
        found = await self._find(call, request.name)
        run = await runs.lock(call.tx, found.id)
        if run is None:
            raise _not_found(request.name)
        if run.state not in ACTIVE:
            msg = f"The export has ended: it is {run.state}."
            raise FailedPrecondition(
                msg,
                reason="ILLEGAL_TRANSITION",
                metadata={"state": run.state, "allowed_methods": ""},
            )
        await runs.end(call.tx, run, "CANCELLED")
        cancelled = await runs.find(call.tx, run.id)
        assert cancelled is not None  # we hold its lock
        return cancelled.message()

    async def DownloadExport(  # noqa: N802
        self, request: export_pb2.DownloadExportRequest, call: Call
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """The file in pieces, for whoever may still list all that is in it."""
        run = await self._find(call, request.name)
        _require_file(call, self._collections[run.specification.resource], run)
        date = run.row["create_time"].date().isoformat()
        ending, content_type = _FORMATS[run.specification.format]
        file_name = f"{run.specification.resource}-{date}.{ending}"
        call.response_headers.append(("content-disposition", f'attachment; filename="{file_name}"'))
        empty = True
        async for piece in runs.file(call.home.database, run):
            empty = False
            yield httpbody_pb2.HttpBody(content_type=content_type, data=piece)
        if empty:
            msg = "The file of this export is deleted already; export again."
            raise FailedPrecondition(msg, reason="EXPORT_EXPIRED")


def _check(
    call: Call, collection: Collection[Any], wanted: export_pb2.Export, unseen: frozenset[str]
) -> None:
    """Raises InvalidArgument, with the fault's place in the request."""
    if wanted.format == export_pb2.Export.VCARD and not vcards.are_persons(collection):
        msg = f"A vCard is a person; {collection.name} are none."
        raise InvalidArgument(msg, field="export.format")
    if wanted.format == export_pb2.Export.VCARD and wanted.fields:
        msg = "A vCard has the fields of its format; leave them out."
        raise InvalidArgument(msg, field="export.fields")
    if wanted.byte_order_mark and wanted.format not in _TEXT:
        msg = "Only CSV can begin with a byte order mark."
        raise InvalidArgument(msg, field="export.byte_order_mark")
    columns_of(collection, wanted.fields, call.home.custom_fields.of(collection.name), unseen)
    scope = collection.scope(call, collection.permission("list"))
    try:
        collection.listing.check(call, scope, wanted.filter, wanted.order_by)
    except InvalidArgument as error:
        violations = [Violation(f"export.{v.field}", v.description) for v in error.violations]
        raise InvalidArgument(
            error.message, reason=error.reason, metadata=error.metadata, violations=violations
        ) from None


def _require_file(call: Call, collection: Collection[Any], run: runs.Run) -> None:
    """Raises PermissionDenied, NotFound or FailedPrecondition where the file is not to be had."""
    scope = collection.scope(call, collection.permission("list"))
    if run.creator != call.principal.user and scope is not RecordScope.ALL:
        raise _not_found(run.name)
    held = {path.partition(".")[0] for path in run.specification.fields}
    refuse_hidden(
        collection.contract, held or collection.contract.sensitive, hidden_from(call, collection)
    )
    if run.state != "SUCCEEDED":
        msg = f"The export has no file: it is {run.state}."
        raise FailedPrecondition(msg, reason="EXPORT_NOT_READY", metadata={"state": run.state})


def _sees_all(call: Call) -> bool:
    assert call.method is not None  # only requests come here
    return call.principal.require(call.method.permission) is RecordScope.ALL


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})
