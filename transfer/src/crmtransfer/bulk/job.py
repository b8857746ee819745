"""The job of a bulk action: choose the records once, change them piece by piece.

It may be run again at any time: what is changed is counted in the same transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from crmkit.access import RecordScope
from crmkit.call import Call, Home, new_call
from crmkit.db import Transaction
from crmkit.errors import Aborted, Failure, InvalidArgument
from crmkit.interceptors.errors import failure_of
from crmkit.jobs import is_transient
from crmtransfer.bulk import runs
from crmtransfer.bulk.changes import Action, Change, Target, changed, issue
from crmtransfer.running import ACTIVE, REFUSALS, Stopped, creator, finish

MAX_ROWS = 1_000_000
# Each record is a change of its own: a transaction of more holds their locks too long.
PIECE_ROWS = 100


class BulkActionJob:
    """Handles the job kind `bulk_action` of one service."""

    def __init__(self, targets: Mapping[str, Target]) -> None:
        """Takes what can be changed, by collection."""
        self._targets = targets

    async def __call__(self, call: Call, arguments: dict[str, Any]) -> None:
        """Runs a bulk action to its end, from wherever it stands."""
        run = await runs.find(call.home.database, UUID(arguments["bulk_action"]))
        if run is None or run.state not in ACTIVE:
            return
        await finish(call, "bulk_action", run, self._run(call.home, run), runs.end)

    async def _run(self, home: Home, run: runs.Run) -> None:
        await _Work(home, self._targets[run.specification.resource]).do(run)


def scope_of(call: Call, target: Target, action: "Action.ValueType") -> RecordScope:
    """The records that a filter finds: those that the caller may both list and change."""
    collection = target.collection
    return min(
        collection.scope(call, collection.permission("list")),
        collection.scope(call, target.methods[action].permission),
    )


@dataclass(frozen=True)
class _Work:
    home: Home
    target: Target

    def _call(self, run: runs.Run, tx: Transaction | None = None) -> Call:
        """A change by the run's creator, with the rights that they have now."""
        call = new_call(self.home, creator(self.home, run.row), tx)
        call.method = self.target.methods[run.specification.action]
        call.principal.require(call.method.permission)
        call.correlation_id, call.causation_id = run.correlation_id, run.name
        return call

    async def do(self, run: runs.Run) -> None:
        """Changes all records that are left. Raises Stopped."""
        if run.state == "QUEUED":
            run = await self._choose(run)
        while run.processed_rows < (run.total_rows or 0):
            run = await self._piece(run)

    async def _choose(self, run: runs.Run) -> runs.Run:
        """Finds out once and for all which records these are, where they are not named."""
        wanted, collection = run.specification, self.target.collection
        async with self.home.database.transaction() as tx:
            locked = await runs.lock(tx, run.id)
            if locked is None or locked.state != "QUEUED":
                raise Stopped
            if wanted.filter:
                call = self._call(run, tx)
                conditions, parameters = collection.listing.matching(
                    call,
                    scope_of(call, self.target, wanted.action),
                    wanted.filter,
                    deleted=wanted.action == wanted.UNDELETE,
                )
                await runs.choose_found(
                    tx, run.id, collection.table, conditions, parameters, MAX_ROWS + 1
                )
            if await runs.begin(tx, run.id) > MAX_ROWS:
                msg = f"There are more than {MAX_ROWS:,} records; divide them by the filter."
                raise InvalidArgument(msg, reason="TOO_MANY_ROWS", field="bulk_action.filter")
            return await self._now(tx, run)

    async def _now(self, tx: Transaction, run: runs.Run) -> runs.Run:
        found = await runs.find(tx, run.id)
        assert found is not None  # we hold its lock
        return found

    async def _piece(self, run: runs.Run) -> runs.Run:
        """Changes some records, all at once or, where the database refuses one, one by one."""
        try:
            return await self._change(run, PIECE_ROWS)
        except REFUSALS:
            for _ in range(PIECE_ROWS):
                run = await self._change_one(run)
                if run.processed_rows >= (run.total_rows or 0):
                    break
            return run

    async def _change_one(self, run: runs.Run) -> runs.Run:
        try:
            return await self._change(run, 1)
        except REFUSALS as error:
            failure = failure_of(error, self.target.collection.contract.singular)
            refused = failure or InvalidArgument(
                "The record cannot be stored.", reason="NOT_STORABLE"
            )
            return await self._change(run, 1, refused)

    async def _change(self, run: runs.Run, size: int, refused: Failure | None = None) -> runs.Run:
        """Deals with the next records in one transaction; answers where the run stands then.

        Raises:
            Stopped: Somebody cancelled it, or another worker goes on with it.
        """
        async with self.home.database.transaction() as tx:
            call = self._call(run, tx)
            change = await self.target.change(call, run.specification)
            locked = await runs.lock(tx, run.id)
            if (
                locked is None
                or locked.state != "RUNNING"
                or locked.processed_rows != run.processed_rows
            ):
                raise Stopped
            outcomes = [
                await self._outcome(call, change, chosen, refused)
                for chosen in await runs.next_records(tx, run, size)
            ]
            await runs.advance(tx, run.id, outcomes)
            return await self._now(tx, run)

    async def _outcome(
        self, call: Call, change: Change, chosen: runs.Chosen, refused: Failure | None
    ) -> runs.Outcome:
        collection = self.target.collection
        try:
            if refused is not None:
                raise refused
            entity = await change(call, chosen.record, chosen.reverted_version)
        except Failure as failure:
            changed_since = isinstance(failure, Aborted) and failure.reason == "ETAG_MISMATCH"
            if is_transient(failure) and not changed_since:
                raise
            why = issue(collection, chosen.record, failure)
            return runs.Outcome(chosen.row, "FAILED", issue=why)
        if changed(call, entity):
            return runs.Outcome(chosen.row, "CHANGED", entity.version)
        return runs.Outcome(chosen.row, "UNCHANGED")
