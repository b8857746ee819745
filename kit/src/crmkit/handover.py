"""Hand-over: what belongs to somebody who leaves, or to a team that ends, becomes somebody else's everywhere.

Identity says who hands over to whom; each service then does it as a durable job, some records in one
transaction together with how far it has come, and tells identity. So a crash moves nothing twice and forgets
nothing. Records change as they do by hand: a version, an event and a line of history each.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from crmkit import clock, contract
from crmkit.access import EVERYTHING, Principal
from crmkit.call import Call, Home
from crmkit.collection import Collection
from crmkit.db import Transaction
from crmkit.errors import ContractError, Failure
from crmkit.feed import outbox
from crmkit.feed.events import Event
from crmkit.handover_run import COLLECTION, HANDOVER, NAMES, Run
from crmkit.interceptors.errors import failure_of
from crmkit.jobs import enqueue, is_transient
from crmkit.names import parse_name
from crmkit.publishing import new_event
from crmkit.statements import compile_statement

JOB = "hand_over"
ENDED = frozenset({"SUCCEEDED", "FAILED"})
_AT_ONCE = 100
_log = structlog.get_logger("crm.handover")
_BIND = {c.name: sa.bindparam(c.name, type_=c.type) for c in HANDOVER.columns}
_ID = sa.bindparam("id", type_=sa.Uuid)
_INSERT = compile_statement(
    sa.dialects.postgresql.insert(HANDOVER).values(_BIND).on_conflict_do_nothing()
)
_LOCK = compile_statement(
    sa.select(*HANDOVER.columns).where(HANDOVER.c.id == _ID).with_for_update()
)
_SAVE = compile_statement(
    sa.update(HANDOVER)
    .where(HANDOVER.c.id == sa.bindparam("of", type_=sa.Uuid))
    .values({name: bind for name, bind in _BIND.items() if name != "id"})
)


async def begin(call: Call, run: Run) -> None:
    """Promises this service's part of a hand-over, in the caller's transaction."""
    await call.tx.execute(_INSERT, {name: getattr(run, name) for name in NAMES})
    await enqueue(call.tx, JOB, {"handover": str(run.id)}, job_id=run.id)


async def _requested(event: Event, call: Call) -> None:
    record = event.message.handover
    user, successor = (_id(name, "users") for name in (record.user, record.successor))
    former, following = (_id(name, "teams") for name in (record.former_team, record.successor_team))
    id_ = parse_name(record.name, collection=COLLECTION, field="name")
    run = Run(id_, 0, user, successor, event.actor, "QUEUED")
    await begin(call, replace(run, former_team=former, successor_team=following))


def _id(name: str, collection: str) -> UUID | None:
    return parse_name(name, collection=collection, field="name") if name else None


HANDLERS = {"identity.handover.created": _requested}


async def publish(call: Call, run: Run) -> None:
    """Tells identity how far this service has come."""
    routing_key = f"{call.home.name}.handover.progressed"
    declared = contract.events().get(routing_key)
    if declared is None:
        msg = f"no event message declares {routing_key}"
        raise ContractError(msg)
    message: Any = declared.message(progress=run.message())
    event = new_event(
        call,
        routing_key=routing_key,
        message=message,
        subject=run.name,
        subject_version=run.version,
        event_index=0,
        owner=None,
        team=None,
    )
    await outbox.append(call.tx, [event])


# -- the job


async def hand_over(call: Call, arguments: dict[str, Any]) -> None:
    """Runs this service's part to its end, from wherever it stands.

    Raises:
        Exception: Only what a later attempt may not meet again; all else ends the hand-over here.
    """
    work = _Work(call.home, UUID(arguments["handover"]))
    try:
        await work.run()
    except Exception as error:
        if is_transient(error):
            raise
        failure = failure_of(error)
        if failure is None:
            _log.exception("hand-over failed", handover=str(work.id))
        await work.end("FAILED", failure.reason if failure else "Something went wrong on our side.")


@dataclass(frozen=True)
class _Work:
    home: Home
    id: UUID

    async def run(self) -> None:
        careful = 0  # so many records are moved one by one, for one of them cannot be moved
        while True:
            try:
                if not await self._step(1 if careful else _AT_ONCE):
                    return
                careful = max(careful - 1, 0)
            except Failure as failure:
                if is_transient(failure):
                    raise
                if careful:
                    await self._leave_out(failure)
                careful = careful or _AT_ONCE

    def _collections(self, run: Run) -> list[Collection[Any]]:
        return [c for _, c in sorted(self.home.collections.items()) if run.moves(c)]

    async def _locked(self, tx: Transaction) -> tuple[Run, Call] | None:
        """The run, if it has not ended, and the work of whoever asked for it."""
        row = await tx.fetch_one(_LOCK, {"id": self.id})
        run = Run(**dict(zip(NAMES, row, strict=True))) if row is not None else None
        if run is None or run.state in ENDED:
            return None
        principal = Principal(name=run.actor, grants=EVERYTHING, service=self.home.name)
        call = Call(
            home=self.home, principal=principal, now=clock.now(), tx=tx, correlation_id=run.name
        )
        return run, call

    async def _save(self, call: Call, run: Run) -> None:
        run.version += 1
        await call.tx.execute(_SAVE, {"of": run.id, **{n: getattr(run, n) for n in NAMES[1:]}})
        await self.home.handover(call, run)

    async def _step(self, count: int) -> bool:
        """Moves some records, in one transaction; False at the end."""
        async with self.home.database.transaction() as tx:
            found = await self._locked(tx)
            if found is None:
                return False
            run, call = found
            if refusal := self._refusal(run):
                run.state, run.error_message = "FAILED", refusal
            elif run.state == "QUEUED":
                run.state, run.total_count = "RUNNING", await self._count(tx, run)
            elif not await self._move(call, run, count):
                run.state = "FAILED" if run.failed_count else "SUCCEEDED"
            await self._save(call, run)
            return run.state not in ENDED

    def _refusal(self, run: Run) -> str:
        """Why nobody may get the records any more; empty if the successor may."""
        rights = self.home.rights
        if run.successor is None:
            return "" if run.successor_team in rights.parents else "There is no such team any more."
        successor = rights.users.get(run.successor)
        return "" if successor and successor.active else "The successor may not sign in."

    async def _count(self, tx: Transaction, run: Run) -> int:
        total = 0
        for collection in self._collections(run):
            query = sa.select(sa.func.count()).where(*run.conditions(collection))
            row = await tx.fetch_one(compile_statement(query))
            total += row[0] if row is not None else 0
        return total

    async def _move(self, call: Call, run: Run, count: int) -> bool:
        collection, ids = await self._next(call.tx, run, count)
        if collection is None:
            return False
        for id_ in ids:
            record = await collection.for_change(call, id_, deleted=True)
            if not run.concerns(record):  # somebody was faster
                continue
            run.give(record, self.home.rights.team_of(run.successor))
            await collection.save(call, record)
            run.moved_count += 1
        return True

    async def _next(
        self, tx: Transaction, run: Run, count: int
    ) -> tuple[Collection[Any] | None, Sequence[UUID]]:
        """The records to move next, noted as looked at; no collection where there are none."""
        for collection in self._collections(run):
            if run.collection is not None and collection.name < run.collection:
                continue
            after = run.position if collection.name == run.collection else None
            table = collection.table
            query = sa.select(table.c.id).where(*run.conditions(collection))
            if after is not None:
                query = query.where(table.c.id > after)
            rows = await tx.fetch_all(compile_statement(query.order_by(table.c.id).limit(count)))
            if rows:
                run.collection, run.position = collection.name, rows[-1][0]
                return collection, [row[0] for row in rows]
        return None, []

    async def _leave_out(self, failure: Failure) -> None:
        """Counts the next record as one that cannot be moved, and says why."""
        async with self.home.database.transaction() as tx:
            found = await self._locked(tx)
            if found is None:
                return
            run, call = found
            collection, ids = await self._next(tx, run, 1)
            if collection is not None:
                run.failed_count += 1
                run.error_message = f"{collection.codec.name_of(ids[0])}: {failure.reason}"
                await self._save(call, run)

    async def end(self, state: str, message: str) -> None:
        """Ends this service's part."""
        async with self.home.database.transaction() as tx:
            found = await self._locked(tx)
            if found is not None:
                run, call = found
                await self._save(call, replace(run, state=state, error_message=message))
