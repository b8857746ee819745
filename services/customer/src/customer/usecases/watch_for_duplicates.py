"""Looks for duplicates of what was created or changed, right after its commit.

It follows this service's own event log from a cursor, so that creating a record costs nothing more, an
import is looked at in pieces, and nothing is left out whatever process dies: the cursor moves with what was
found.
"""

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from contextlib import suppress
from uuid import UUID

import psycopg
import structlog

from crmkit.access import service_principal
from crmkit.call import Home, new_call
from crmkit.errors import Failure, Unavailable
from crmkit.feed.loops import Backoff, going_on, run_until
from customer.storage.duplicate_scan import advance, changed_after
from customer.usecases.find_duplicates import find_duplicates

_AT_ONCE = 200
# Events a second; from so many on, imports above all, we look at some records every ten seconds.
_MUCH = 400.0
_LOOKS_TO_GIVE_WAY = 10
_SECONDS_BETWEEN_LOOKS = 1.0
# After so many failures on end records are looked at one by one: what cannot be compared is left out.
_FAILURES_TOGETHER = 3
_log = structlog.get_logger("customer.duplicates")


async def watch_for_duplicates(home: Home, stop: asyncio.Event) -> None:
    """Runs until told to stop; of several processes one works at a time."""
    await run_until(stop, _watch(home))


async def _watch(home: Home) -> None:
    backoff, pace, failures = Backoff(), _Pace(home), 0
    while going_on():
        try:
            await pace.give_way()
            singly = failures >= _FAILURES_TOGETHER
            seq, found_some = await look_at_changes(home, singly=singly)
            backoff.reset()
            failures = 0
        except Exception as error:  # noqa: BLE001 - it is tried again; the service goes on
            fault = None if isinstance(error, psycopg.OperationalError | Failure) else error
            _log.warning("looking for duplicates failed", exc_info=fault)
            failures += 1
            await backoff.pause()
            continue
        if not seq:  # another process is at it
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)
        elif not found_some:
            with suppress(Failure):  # the service stops
                await home.feed.wait_beyond(seq)


class _Pace:
    """Whether much is being written just now: whoever writes must not wait for us."""

    def __init__(self, home: Home) -> None:
        self._feed = home.feed
        self._looked = time.monotonic()
        self._head: int | None = None

    async def give_way(self) -> None:
        """Waits for a calmer moment, but not for ever."""
        for _ in range(_LOOKS_TO_GIVE_WAY):
            if await self._events_per_second() < _MUCH:
                return
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    async def _events_per_second(self) -> float:
        before, since = self._head, self._looked
        self._head, self._looked = (await self._feed.head()).last_seq, time.monotonic()
        # Of a moment nothing can be said.
        seconds = max(self._looked - since, _SECONDS_BETWEEN_LOOKS / 4)
        return (self._head - before) / seconds if before is not None else 0.0


async def look_at_changes(home: Home, *, singly: bool = False) -> tuple[int, bool]:
    """Looks for duplicates of the next changed records; how far it is, and whether there were events.

    Args:
        home: The service.
        singly: Each record by itself; those that cannot be compared are left out.
    """
    async with home.database.transaction() as tx:
        changed = await changed_after(tx, _AT_ONCE)
        if changed is None or changed.seq == changed.before:
            return (changed.seq, False) if changed else (0, False)
        call = new_call(home, service_principal(home.name), tx)
        by_resource: defaultdict[str, list[UUID]] = defaultdict(list)
        for name in changed.subjects:
            resource, _, id_ = name.partition("/")
            if "/" not in id_:  # what belongs to a record, such as a comment, is no change of it
                by_resource[resource].append(UUID(id_))
        for resource, ids in by_resource.items():
            if singly:
                await _one_by_one(home, resource, ids)
            else:
                await find_duplicates(call, resource, ids)
        await advance(tx, changed.seq)
        return changed.seq, True


async def _one_by_one(home: Home, resource: str, ids: Iterable[UUID]) -> None:
    """Looks at each record in its own transaction; goes on without those that cannot be compared."""
    for id_ in ids:
        try:
            async with home.database.transaction() as tx:
                call = new_call(home, service_principal(home.name), tx)
                await find_duplicates(call, resource, [id_])
        except (psycopg.OperationalError, Unavailable):
            raise  # not the record's fault
        except Exception as error:  # noqa: BLE001 - of one record; what it says may hold what is in it
            left_out, fault = f"{resource}/{id_}", type(error).__name__
            _log.error("record left out of duplicates", record=left_out, error=fault)
