"""Looks for duplicates of what was created or changed, right after its commit.

It follows this service's own event log from a cursor, so that creating a record costs nothing more, an
import is looked at in pieces, and nothing is left out whatever process dies: the cursor moves with what was
found.
"""

import asyncio
import time
from collections import defaultdict
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from crmkit.access import service_principal
from crmkit.call import Home, new_call
from crmkit.errors import Failure
from crmkit.feed.loops import Backoff, going_on, run_until
from customer.storage.duplicate_scan import advance, changed_after, import_runs
from customer.usecases.find_duplicates import find_duplicates

_AT_ONCE = 200
# While an import runs we work a quarter of the time: it must not wait for us.
_PAUSE_BESIDE_IMPORTS = 3.0
_SECONDS_BETWEEN_LOOKS = 1.0
_log = structlog.get_logger("customer.duplicates")


async def watch_for_duplicates(home: Home, stop: asyncio.Event) -> None:
    """Runs until told to stop; of several processes one works at a time."""
    await run_until(stop, _watch(home))


async def _watch(home: Home) -> None:
    backoff = Backoff()
    while going_on():
        began = time.monotonic()
        try:
            seq, found_some = await look_at_changes(home)
            busy = found_some and await import_runs(home.database)
            backoff.reset()
        except Exception as error:  # noqa: BLE001 - it is tried again; the service goes on
            fault = None if isinstance(error, psycopg.OperationalError | Failure) else error
            _log.warning("looking for duplicates failed", exc_info=fault)
            await backoff.pause()
            continue
        if busy:
            await asyncio.sleep((time.monotonic() - began) * _PAUSE_BESIDE_IMPORTS)
        if not seq:  # another process is at it
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        elif not found_some:
            with suppress(Failure):  # the service stops
                await home.feed.wait_beyond(seq)


async def look_at_changes(home: Home) -> tuple[int, bool]:
    """Looks for duplicates of the next changed records; how far it is, and whether there were events."""
    async with home.database.transaction() as tx:
        changed = await changed_after(tx, _AT_ONCE)
        if changed is None or changed.seq == changed.before:
            return (changed.seq, False) if changed else (0, False)
        call = new_call(home, service_principal(home.name), tx)
        by_resource: defaultdict[str, list[UUID]] = defaultdict(list)
        for name in changed.subjects:
            resource, _, id_ = name.partition("/")
            by_resource[resource].append(UUID(id_))
        for resource, ids in by_resource.items():
            await find_duplicates(call, resource, ids)
        await advance(tx, changed.seq)
        return changed.seq, True
