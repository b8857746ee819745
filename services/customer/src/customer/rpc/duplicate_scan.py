"""Scans for duplicates: starting, watching, stopping."""

from uuid import UUID

from crm.customer.v1 import duplicate_scan_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound, PermissionDenied
from crmkit.ids import uuid7
from crmkit.jobs import enqueue
from crmkit.names import parse_name
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import Row
from customer.storage.duplicate_scan import (
    ACTIVE,
    SCANS,
    TABLES,
    active_scan,
    duplicate_scans,
    end_scan,
    find_scan,
    hold_scans,
    insert_scan,
    lock_scan,
    named,
    scan_message,
)
from customer.usecases.scan_for_duplicates import DUPLICATE_SCAN

_NEWEST_FIRST = [Order("id", duplicate_scans.c.id, descending=True)]


class DuplicateScanService:
    """Scans are the whole organisation's: who sees a part of the records cannot start one."""

    async def CreateDuplicateScan(
        self, request: duplicate_scan_pb2.CreateDuplicateScanRequest, call: Call
    ) -> duplicate_scan_pb2.DuplicateScan:
        """Promises a scan, in one transaction with its job."""
        _require_all(call)
        resource = request.duplicate_scan.resource
        if resource not in TABLES:
            msg = f"duplicate_scan.resource must be one of {', '.join(sorted(TABLES))}."
            raise InvalidArgument(msg, field="duplicate_scan.resource")
        await hold_scans(call.tx)
        running = await active_scan(call.tx, resource)
        if running is not None:
            scan = scan_message(running).name
            msg = f"{scan} has not ended yet."
            raise FailedPrecondition(msg, reason="ALREADY_RUNNING", metadata={"scan": scan})
        id_ = uuid7()
        await insert_scan(call.tx, id_, resource, call.principal.user, call.now)
        await enqueue(call.tx, DUPLICATE_SCAN, {"scan": str(id_)}, job_id=id_)
        return await _shown(call, id_)

    async def GetDuplicateScan(
        self, request: duplicate_scan_pb2.GetDuplicateScanRequest, call: Call
    ) -> duplicate_scan_pb2.DuplicateScan:
        """A scan with its progress."""
        _require_all(call)
        id_ = parse_name(request.name, collection="duplicateScans", field="name")
        return scan_message(_present(await find_scan(call.reader, id_), request.name))

    async def ListDuplicateScans(
        self, request: duplicate_scan_pb2.ListDuplicateScansRequest, call: Call
    ) -> duplicate_scan_pb2.ListDuplicateScansResponse:
        """Scans, newest first."""
        _require_all(call)
        rows, token = await page_of_rows(call, SCANS, _NEWEST_FIRST, request, "duplicateScans")
        return duplicate_scan_pb2.ListDuplicateScansResponse(
            duplicate_scans=[scan_message(row) for row in rows], next_page_token=token
        )

    async def CancelDuplicateScan(
        self, request: duplicate_scan_pb2.CancelDuplicateScanRequest, call: Call
    ) -> duplicate_scan_pb2.DuplicateScan:
        """Stops a scan after the records at hand."""
        _require_all(call)
        id_ = parse_name(request.name, collection="duplicateScans", field="name")
        stands = named(_present(await lock_scan(call.tx, id_), request.name))
        if stands["state"] not in ACTIVE:
            msg = f"{request.name} has ended."
            metadata = {"state": stands["state"], "allowed_methods": ""}
            raise FailedPrecondition(msg, reason="ILLEGAL_TRANSITION", metadata=metadata)
        await end_scan(call.tx, id_, "CANCELLED", call.now)
        return await _shown(call, id_)


def _require_all(call: Call) -> None:
    assert call.method is not None
    permission = call.method.permission
    if call.principal.require(permission) is not RecordScope.ALL:
        msg = f"The permission {permission} is needed for all records."
        metadata = {"permission": permission}
        raise PermissionDenied(msg, reason="SCOPE_TOO_NARROW", metadata=metadata)


def _present(row: Row | None, name: str) -> Row:
    if row is None:
        msg = f"There is no {name}."
        raise NotFound(msg, metadata={"resource": name})
    return row


async def _shown(call: Call, id_: UUID) -> duplicate_scan_pb2.DuplicateScan:
    row = await find_scan(call.tx, id_)
    assert row is not None  # it is of this transaction
    return scan_message(row)
