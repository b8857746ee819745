"""What an operator does with parked events: look at them, replay them after a fix, or skip them."""

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
import structlog

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.db import Database, Executor
from crmkit.errors import InvalidArgument, NotFound
from crmkit.feed.consumer import Consumer
from crmkit.feed.cursor import lock_cursor
from crmkit.feed.events import Event
from crmkit.feed.faults import describe, is_transient
from crmkit.schema import PARKED_EVENT
from crmkit.statements import Row, compile_statement

_log = structlog.get_logger(__name__)

_c = PARKED_EVENT.c
_COLUMNS = (_c.source, _c.feed_seq, _c.subject, _c.event, _c.error, _c.attempts, _c.park_time)
_list = sa.select(*_COLUMNS).order_by(_c.source, _c.feed_seq)
_of_source = _list.where(_c.source == sa.bindparam("source"))
_one = _c.feed_seq == sa.bindparam("at_seq")
_LIST = compile_statement(_list)
_LIST_OF_SOURCE = compile_statement(_of_source)
_READ = compile_statement(_of_source.where(_one).with_for_update())
_COUNT = compile_statement(sa.select(_c.source, sa.func.count()).group_by(_c.source))
_DELETE = compile_statement(
    sa.delete(PARKED_EVENT).where(_c.source == sa.bindparam("source")).where(_one)
)
_FAILED_AGAIN = compile_statement(
    sa.update(PARKED_EVENT)
    .values(error=sa.bindparam("new_error"), attempts=_c.attempts + 1)
    .where(_c.source == sa.bindparam("at_source"))
    .where(_one)
)


@dataclass(frozen=True, slots=True)
class ParkedEvent:
    """An event that was put aside.

    Attributes:
        source: The service whose event it is.
        event: The event.
        error: Why it failed last.
        attempts: How often it was tried; 0 if it only waits for an earlier one of its subject.
        park_time: When it was put aside.
    """

    source: str
    event: Event
    error: str
    attempts: int
    park_time: datetime


@dataclass(frozen=True, slots=True)
class ReplayResult:
    """How many parked events were applied, and how many are still parked."""

    applied: int
    parked: int


def _parked(row: Row) -> ParkedEvent:
    source, _, _, event, error, attempts, park_time = row
    return ParkedEvent(source, Event(FeedEvent.FromString(event)), error, attempts, park_time)


async def list_parked(executor: Executor, source: str = "") -> list[ParkedEvent]:
    """The parked events of one source or of all, in feed order."""
    if source:
        rows = await executor.fetch_all(_LIST_OF_SOURCE, {"source": source})
    else:
        rows = await executor.fetch_all(_LIST)
    return [_parked(row) for row in rows]


async def count_parked(executor: Executor) -> dict[str, int]:
    """How many events are parked, by source; more than none is an alert."""
    return {row[0]: row[1] for row in await executor.fetch_all(_COUNT)}


async def replay(database: Database, consumer: Consumer, subject: str = "") -> ReplayResult:
    """Applies parked events in feed order: those of one subject, or all.

    A subject stops at its first event that fails again; the others go on.

    Raises:
        Exception: A transient failure; what was applied before stays applied.
    """
    applied = 0
    failed: set[str] = set()
    # Again until nothing is left: meanwhile new events may have been parked behind those.
    while waiting := await _waiting(database, consumer.source, subject, failed):
        for event in waiting:
            if event.subject in failed:
                continue
            try:
                applied += await _replay_one(database, consumer, event)
            except Exception as error:
                if is_transient(error):
                    raise
                failed.add(event.subject)
                await _note_failure(database, consumer.source, event, error)
    _log.info("parked_replayed", source=consumer.source, applied=applied, failed=sorted(failed))
    return ReplayResult(applied, len(await _waiting(database, consumer.source, subject, set())))


async def _waiting(database: Database, source: str, subject: str, without: set[str]) -> list[Event]:
    return [
        parked.event
        for parked in await list_parked(database, source)
        if subject in ("", parked.event.subject) and parked.event.subject not in without
    ]


async def _note_failure(database: Database, source: str, event: Event, error: Exception) -> None:
    await database.execute(
        _FAILED_AGAIN,
        {"new_error": describe(error), "at_source": source, "at_seq": event.feed_seq},
    )


async def _replay_one(database: Database, consumer: Consumer, event: Event) -> int:
    """1 if it was applied, 0 if somebody else was faster."""
    key = {"source": consumer.source, "at_seq": event.feed_seq}
    async with database.transaction() as tx:
        await lock_cursor(tx, consumer.source, "")  # a new event of the subject must not overtake
        if await tx.fetch_one(_READ, key) is None:
            return 0
        await consumer.handle(event, tx)
        await tx.execute(_DELETE, key)
    return 1


async def skip(database: Database, source: str, feed_seq: int, *, reason: str, actor: str) -> None:
    """Gives up on a parked event; later ones of its subject stay parked until they are replayed.

    Raises:
        InvalidArgument: No reason was given.
        NotFound: No such event is parked.
    """
    if not reason.strip():
        msg = "reason must say why the event may be left out"
        raise InvalidArgument(msg, field="reason")
    key = {"source": source, "at_seq": feed_seq}
    async with database.transaction() as tx:
        row = await tx.fetch_one(_READ, key)
        if row is None:
            msg = f"No event {feed_seq} of {source} is parked."
            raise NotFound(msg, reason="EVENT_NOT_PARKED")
        await tx.execute(_DELETE, key)
    event = _parked(row).event
    _log.warning(
        "parked_skipped",
        source=source,
        feed_seq=feed_seq,
        kind=event.routing_key,
        subject=event.subject,
        reason=reason,
        actor=actor,
    )
