"""Some rows of an import: understood, then written in one transaction together with the progress.

So a crash loses nothing and doubles nothing: rows are either written and counted, or neither.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crm.common.v1 import import_pb2
from crmkit import clock
from crmkit.access import Principal, RecordScope
from crmkit.call import Call, Home
from crmkit.collection import Collection
from crmkit.db import Transaction
from crmkit.errors import AlreadyExists, Failure
from crmkit.ids import uuid7_of
from crmkit.interceptors.errors import failure_of
from crmkit.preparing import check
from crmkit.resources import set_field
from crmkit.sensitive import hidden_in
from crmkit.sources import IMPORT, outranked
from crmtransfer.imports import rejected, runs
from crmtransfer.imports.duplicates import Identity, Match, alone, identity, matches
from crmtransfer.imports.lookups import Lookups
from crmtransfer.imports.mapping import ERROR, WARNING, Draft, RowMapper
from crmtransfer.imports.quick import QuickRows
from crmtransfer.imports.rows import FileRow
from crmtransfer.imports.runs import Tally
from crmtransfer.running import REFUSALS, Stopped, creator, standard_rpc

Policy = import_pb2.Import.DuplicatePolicy
_ROWS_BETWEEN_PAUSES = 200


@dataclass
class Work:
    """An import being worked on by this process."""

    home: Home
    collection: Collection[Any]
    run: runs.Run
    mapper: RowMapper
    quick: QuickRows
    lookups: Lookups
    processed: int
    seen: set[Identity] = field(default_factory=set)  # of a run that only validates

    @property
    def principal(self) -> Principal:
        """Whoever asked for the import, with today's rights."""
        return creator(self.home, self.run.row)

    @asynccontextmanager
    async def piece(self) -> AsyncIterator[Call]:
        """A piece of this work in a transaction of its own, committed if the block ends well."""
        async with self.home.database.transaction() as tx:
            yield self.call(tx)

    def call(self, tx: Transaction) -> Call:
        """The creator's call that a piece of this work is."""
        return Call(
            home=self.home,
            principal=self.principal,
            now=clock.now(),
            tx=tx,
            correlation_id=self.run.name,
            imported=True,
            source=self.run.specification.source or IMPORT,
            method=standard_rpc(self.collection, self.collection.made_by),
            state={"confirmed_references": self.lookups.ids},
        )

    @property
    def policy(self) -> int:
        """What to do with duplicates."""
        return self.run.specification.duplicate_policy or Policy.SKIP


def hidden_from(by: Principal, collection: Collection[Any]) -> frozenset[str]:
    """The fields that somebody may not see in every record that they may create."""
    scope = by.grants.scope(collection.permission("create"))
    return hidden_in(
        by, collection.contract, RecordScope.ALL if collection.contract.shared else scope
    )


@dataclass(slots=True)
class _Candidate:
    row: FileRow
    draft: Draft
    values: dict[str, Any]
    entity: Any = None
    identity: Identity | None = None
    match: Match | None = None

    def fail(self, mapper: RowMapper, failure: Failure) -> None:
        self.draft.note(mapper.path(failure), failure.reason, failure.message, ERROR)


async def write_batches(work: Work, batches: AsyncIterator[Sequence[FileRow]]) -> None:
    """Deals with all rows: while the database writes a batch, the next is being understood.

    Raises:
        Stopped: The import was cancelled, or another worker goes on with it.
    """
    writing: asyncio.Task[None] | None = None
    try:
        async for rows in batches:
            if writing is not None and work.mapper.links:
                await writing  # these rows may refer to those
            candidates = await _understand(work, rows)
            if writing is not None:
                await writing
            writing = asyncio.create_task(_write_rows(work, rows, candidates))
        if writing is not None:
            await writing
    finally:
        if writing is not None and not writing.done():
            writing.cancel()
            await asyncio.gather(writing, return_exceptions=True)


async def _write_rows(
    work: Work, rows: Sequence[FileRow], candidates: list[_Candidate] | None = None
) -> None:
    """Deals with some rows, all of them at once or, where the database refuses one, in halves."""
    try:
        again_at = await _write(work, candidates or await _understand(work, rows))
    except REFUSALS as error:
        if len(rows) == 1:
            await _refuse(work, rows[0], error)
            return
        again_at = len(rows) // 2
        await _write_rows(work, rows[:again_at])
    if again_at < len(rows):
        await _write_rows(work, rows[again_at:])


async def _write(work: Work, candidates: list[_Candidate]) -> int:
    """Writes rows, up to one with the same record as a row before it; answers how many."""
    if work.policy == Policy.UPDATE:
        candidates = _until_repetition(candidates)
    async with work.piece() as call:
        if _by_natural_key(work, candidates):
            await alone(call.tx, work.collection)
        await lock(work, call.tx)
        new = await _sort_out(work, call, candidates)
        tally = await _store(work, call, candidates, new)
        issues = [issue for c in candidates for issue in c.draft.issues]
        await runs.advance(call.tx, work.run.id, tally, issues)
        refused = [c.row for c in candidates if c.draft.failed]
        await rejected.keep(call.tx, work.run.id, refused)
    work.processed += len(candidates)
    if work.run.specification.validate_only:
        work.seen |= {c.identity for c in candidates if c.identity and not c.draft.failed}
    return len(candidates)


def _by_natural_key(work: Work, candidates: Sequence[_Candidate]) -> bool:
    """True if rows are compared with records by what others may be writing at the same time."""
    run = work.run.specification
    if run.validate_only or work.policy == Policy.CREATE:
        return False
    return any(c.identity is not None and c.identity[0] != "external_id" for c in candidates)


async def lock(work: Work, tx: Transaction) -> None:
    """Makes sure that the import is still ours; raises Stopped if not."""
    run = await runs.lock(tx, work.run.id)
    if run is None or run.state != "RUNNING" or run.processed_rows != work.processed:
        raise Stopped


async def _understand(work: Work, rows: Sequence[FileRow]) -> list[_Candidate]:
    """Turns rows into records as far as possible; nothing is written and no transaction open."""
    call = work.call(Transaction(work.home.database))  # never begun
    await work.lookups.learn(call, work.mapper.wanted([r.cells for r in rows if not r.problem]))
    candidates = []
    for index, row in enumerate(rows):
        if index % _ROWS_BETWEEN_PAUSES == 0:
            await asyncio.sleep(0)  # others of this process have their turn
        candidates.append(_candidate(work, call, row))
    return candidates


def _candidate(work: Work, call: Call, row: FileRow) -> _Candidate:
    if row.problem:
        candidate = _Candidate(row, Draft(row.number, None), {})
        candidate.draft.note("", "MALFORMED_ROW", row.problem, ERROR)
        return candidate
    values = work.quick.values(row.cells, work.lookups.resolve)
    draft = Draft(row.number, None)
    if values is None:
        draft = work.mapper.draft(row.number, row.cells, work.lookups.resolve)
        values = work.mapper.values(draft)
    candidate = _Candidate(row, draft, values)
    if not draft.failed:
        try:
            record_id = uuid7_of(work.run.id, row.number)
            candidate.entity = _record(work, call, candidate, record_id)
            candidate.identity = identity(work.collection, candidate.entity)
        except Failure as failure:
            candidate.fail(work.mapper, failure)
    return candidate


def _record(work: Work, call: Call, candidate: _Candidate, record_id: UUID) -> Any:
    """The record, checked; a bad value of an optional field is left out with a warning."""
    entity = work.collection.new(call, dict(candidate.values), record_id=record_id)
    try:
        check(work.collection, call, entity)
    except Failure as failure:
        path = work.mapper.path(failure)
        name = path.partition(".")[0].partition("[")[0]
        if name not in candidate.values or name in work.collection.codec.required:
            raise
        candidate.draft.note(path, failure.reason, failure.message, WARNING)
        del candidate.values[name]
        return _record(work, call, candidate, record_id)
    for name, _ in work.collection.codec.pick_lists:
        if name in candidate.values:
            candidate.values[name] = getattr(entity, name)
    return entity


def _until_repetition(candidates: list[_Candidate]) -> list[_Candidate]:
    seen: set[Identity] = set()
    for index, candidate in enumerate(candidates):
        if candidate.identity is not None and candidate.identity in seen:
            return candidates[:index]
        if candidate.identity is not None:
            seen.add(candidate.identity)
    return candidates


async def _sort_out(work: Work, call: Call, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """Finds duplicates; answers the rows that become new records, checked as an insert would be."""
    sound = [c for c in candidates if not c.draft.failed]
    known = await matches(call, work.collection, {c.identity for c in sound if c.identity})
    here: set[Identity] = set(work.seen)
    for candidate in sound:
        if candidate.identity is None:
            continue
        candidate.match = known.get(candidate.identity)
        if candidate.match is None and candidate.identity in here:
            candidate.match = Match(candidate.entity.id, usable=work.policy != Policy.UPDATE)
        here.add(candidate.identity)
        _apply_policy(work, candidate)
    new = [c for c in sound if not c.draft.failed and c.match is None]
    entities = [c.entity for c in new]
    outcomes = await work.collection.prepare_many(call, entities, checked=True)
    for candidate, failure in zip(new, outcomes, strict=True):
        if failure is not None:
            candidate.fail(work.mapper, failure)
    return [c for c in new if not c.draft.failed]


def _apply_policy(work: Work, candidate: _Candidate) -> None:
    match, policy = candidate.match, work.policy
    if match is None or candidate.identity is None:
        return
    field_name, value = candidate.identity
    natural = field_name != "external_id"
    if policy == Policy.CREATE and natural:
        candidate.match = None
    elif policy in {Policy.FAIL, Policy.CREATE} or not match.usable:
        msg = f"There is a record with this {field_name} already: {value[:100]}"
        candidate.fail(work.mapper, AlreadyExists(msg, field=field_name))


async def _store(
    work: Work, call: Call, candidates: Sequence[_Candidate], new: Sequence[_Candidate]
) -> Tally:
    tally = Tally(rows=len(candidates), created=len(new))
    matched = [c for c in candidates if c.match is not None and not c.draft.failed]
    if work.policy == Policy.UPDATE:
        for candidate in matched:
            tally.updated += await _update(work, call, candidate)
    tally.failed = sum(c.draft.failed for c in candidates)
    tally.skipped = len(candidates) - tally.created - tally.updated - tally.failed
    tally.warned = sum(bool(c.draft.issues) and not c.draft.failed for c in candidates)
    if new and not work.run.specification.validate_only:
        await work.collection.insert_many(call, [c.entity for c in new])
    return tally


async def _update(work: Work, call: Call, candidate: _Candidate) -> bool:
    """Changes the record that a row describes; True if that changes or would change anything."""
    assert candidate.match is not None
    collection = work.collection
    call.method = standard_rpc(collection, "Update")
    try:
        entity = await collection.for_change(call, candidate.match.id)
        for name, value in candidate.values.items():
            if name in collection.codec.writable and not _stands(
                work, call, candidate, entity, name
            ):
                set_field(collection, entity, name, value)
        entity.check()
        _, row_before = call.state[entity.id]
        changed = collection.codec.changed_fields(row_before, collection.codec.to_row(entity))
        if changed and not work.run.specification.validate_only:
            await collection.save(call, entity)
    except Failure as failure:
        candidate.fail(work.mapper, failure)
        return False
    return bool(changed)


def _stands(work: Work, call: Call, candidate: _Candidate, entity: Any, name: str) -> bool:
    """True if a field keeps its value, since its source stands against the file's; says so in the row."""
    holder = outranked(call, work.collection.name, entity, name)
    if holder and getattr(candidate.entity, name) != getattr(entity, name):
        msg = f"{name} comes from {holder}, which the organisation lets stand."
        candidate.draft.note(name, "SOURCE_OUTRANKED", msg, WARNING)
    return bool(holder)


async def _refuse(work: Work, row: FileRow, error: Exception) -> None:
    """Counts a row as failed that only the database could refuse."""
    failure = failure_of(error, work.collection.contract.singular)
    draft = Draft(row.number, None)
    reason = failure.reason if failure else "NOT_STORABLE"
    message = failure.message if failure else "The record cannot be stored."
    draft.note(work.mapper.path(failure) if failure else "", reason, message, ERROR)
    async with work.home.database.transaction() as tx:
        await lock(work, tx)
        await runs.advance(tx, work.run.id, Tally(rows=1, failed=1), draft.issues)
        await rejected.keep(tx, work.run.id, [row])
    work.processed += 1
