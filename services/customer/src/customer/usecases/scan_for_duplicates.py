"""The job of a scan for duplicates: all records of a collection, some at a time, from wherever it stands."""

from typing import Any
from uuid import UUID

import structlog

from crmkit.access import service_principal
from crmkit.call import Call, Home, new_call
from crmkit.interceptors.errors import failure_of
from crmkit.jobs import is_transient
from customer.storage.duplicate_scan import (
    ACTIVE,
    begin_scan,
    end_scan,
    lock_scan,
    move_scan,
    named,
    next_records,
)
from customer.usecases.find_duplicates import find_duplicates

DUPLICATE_SCAN = "duplicate_scan"  # the kind of the jobs
_AT_ONCE = 500
_log = structlog.get_logger("customer.duplicates")


async def scan_for_duplicates(call: Call, arguments: dict[str, Any]) -> None:
    """Scans to the end; each piece commits with the progress, so that a repeat goes on from there."""
    scan = UUID(arguments["scan"])
    try:
        while await _compare_some(call.home, scan):
            pass
    except Exception as error:
        if is_transient(error):
            raise
        failure = failure_of(error)
        if failure is None:
            _log.exception("scan failed", scan=str(scan))
        why = failure.message if failure else "Something went wrong on our side."
        await end_scan(call.tx, scan, "FAILED", call.now, why)


async def _compare_some(home: Home, scan: UUID) -> bool:
    """Compares the next records; False once the scan has ended."""
    async with home.database.transaction() as tx:
        call = new_call(home, service_principal(home.name), tx)
        row = await lock_scan(tx, scan)
        stands = named(row) if row is not None else None
        if stands is None or stands["state"] not in ACTIVE:
            return False
        resource = stands["resource"]
        if stands["state"] == "QUEUED":
            await begin_scan(tx, scan, resource)
        records = await next_records(tx, resource, stands["position"], _AT_ONCE)
        if records:
            found = await find_duplicates(call, resource, records)
            await move_scan(tx, scan, records[-1], len(records), found)
        else:
            await end_scan(tx, scan, "SUCCEEDED", call.now)
        return bool(records)
