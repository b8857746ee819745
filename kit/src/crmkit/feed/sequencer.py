"""Gives committed events their place in the feed: a dense number and a link in the hash chain.

Touches the database only. Any number of sequencers may run: the row lock on `relay_state` lets one
work at a time, also past a process that was stopped in the middle. Ids of the outbox are drawn
while the record's row is locked, so that their order is the order of each record's changes.
"""

import asyncio
from dataclasses import dataclass

import psycopg
import structlog

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.db import Database
from crmkit.feed.clashes import resolve_clashes
from crmkit.feed.events import chain_of, unchained
from crmkit.feed.faults import describe
from crmkit.feed.feed import Feed
from crmkit.feed.loops import Backoff, going_on, run_until
from crmkit.schema import EVENT_COLUMNS
from crmkit.statements import Row

_log = structlog.get_logger(__name__)

BATCH = 1000
_SECONDS_BETWEEN_LOOKS = 0.25
# After a batch, let the next one gather: under load this saves most of the commits.
_SECONDS_TO_GATHER = 0.01
_SECONDS_FOR_ONE_RUN = 15.0
_SESSION = (
    "-c lock_timeout=5s -c idle_in_transaction_session_timeout=5s -c statement_timeout=10s"
    " -c timezone=UTC"
)

_COLUMNS = ", ".join(EVENT_COLUMNS)
_LOOK = "SELECT last_seq, EXISTS (SELECT FROM outbox) FROM relay_state"
_FENCE = "SELECT last_seq, last_chain FROM relay_state FOR UPDATE"
_READ = f"SELECT id, {_COLUMNS} FROM outbox ORDER BY id LIMIT {BATCH}"  # noqa: S608 - our own names
_MOVE = f"""
    WITH place AS (
        SELECT id, %(before)s + number AS feed_seq, substr(%(chains)s, 32 * number::int - 31, 32) AS chain
        FROM unnest(%(ids)s::bigint[]) WITH ORDINALITY AS place (id, number)
    ), moved AS (DELETE FROM outbox USING place WHERE outbox.id = place.id RETURNING *)
    INSERT INTO event_log (feed_seq, {_COLUMNS}, chain)
    SELECT feed_seq, {_COLUMNS}, chain FROM moved ORDER BY feed_seq
"""  # noqa: S608 - our own names
_ADVANCE = "UPDATE relay_state SET last_seq = %(seq)s, last_chain = %(chain)s"


async def dedicated_connection(database: Database, options: str) -> psycopg.AsyncConnection[Row]:
    """A connection outside the pool, in autocommit mode, with session options of its own."""
    return await psycopg.AsyncConnection.connect(
        database.url, autocommit=True, options=options, connect_timeout=5
    )


@dataclass(slots=True)
class _Batch:
    """Events with their places, and the outbox rows that they come from."""

    ids: list[int]
    events: list[FeedEvent]


class Sequencer:
    """Moves the outbox of one database into its event log."""

    def __init__(self, database: Database, feed: Feed | None = None) -> None:
        """Takes the database, and the feed whose readers to wake."""
        self._database = database
        self._feed = feed
        self._connection: psycopg.AsyncConnection[Row] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Sequences until `stop` is set: at once after a commit of this process."""
        try:
            await run_until(stop, self._loop())
        finally:
            await self.close()

    async def _loop(self) -> None:
        backoff = Backoff(longest=5.0)
        while going_on():
            self._database.committed.clear()
            try:
                async with asyncio.timeout(_SECONDS_FOR_ONE_RUN):
                    moved = await self.run_once()
            except (psycopg.Error, OSError, TimeoutError) as error:
                _log.warning("sequencer_failed", error=describe(error))
                await self.close()
                await backoff.pause()
                continue
            backoff.reset()
            if moved:
                await asyncio.sleep(0 if moved == BATCH else _SECONDS_TO_GATHER)
                continue
            try:
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await self._database.committed.wait()
            except TimeoutError:
                pass  # another process may have committed

    async def run_once(self) -> int:
        """Numbers what is waiting, up to 1,000 events; returns how many.

        Raises:
            psycopg.Error: The database refused or is away; nothing was moved, or all of it.
        """
        connection = await self._connected()
        cursor = await connection.execute(_LOOK)
        look = await cursor.fetchone()
        if look is None or not look[1]:
            if look is not None and self._feed is not None:
                self._feed.advanced(look[0])
            return 0
        try:
            batch = await self._move(connection)
        except psycopg.errors.UniqueViolation:
            await self.close()
            connection = await self._connected()
            await resolve_clashes(connection)
            batch = await self._move(connection)
        except BaseException:
            await self.close()  # whatever state it is in, the transaction is gone
            raise
        if batch.events and self._feed is not None:
            self._feed.advanced(batch.events[-1].feed_seq, batch.events)
        return len(batch.events)

    async def _move(self, connection: psycopg.AsyncConnection[Row]) -> _Batch:
        async with connection.pipeline():
            await connection.execute("BEGIN")
            fence = await connection.execute(_FENCE)
            waiting = await connection.execute(_READ)
            last_seq, last_chain = _present(await fence.fetchone())
            batch = _number(await waiting.fetchall(), last_seq, last_chain)
            if batch.events:
                await connection.execute(
                    _MOVE,
                    {  # as text and bytes: the driver takes long to write arrays
                        "ids": f"{{{','.join(map(str, batch.ids))}}}",
                        "before": last_seq,
                        "chains": b"".join(event.chain for event in batch.events),
                    },
                )
                last = batch.events[-1]
                await connection.execute(_ADVANCE, {"seq": last.feed_seq, "chain": last.chain})
            await connection.execute("COMMIT")
        return batch

    async def _connected(self) -> psycopg.AsyncConnection[Row]:
        if self._connection is None or self._connection.closed:
            self._connection = await dedicated_connection(self._database, _SESSION)
        return self._connection

    async def close(self) -> None:
        """Gives up the connection; a later run opens another."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def _number(rows: list[Row], last_seq: int, last_chain: bytes) -> _Batch:
    events = []
    chain = last_chain
    for feed_seq, row in enumerate(rows, start=last_seq + 1):
        event = unchained(feed_seq, row[1:])
        event.chain = chain = chain_of(chain, event)
        events.append(event)
    return _Batch([row[0] for row in rows], events)


def _present(row: Row | None) -> Row:
    if row is None:
        msg = "relay_state has no row: the platform tables were not created by the migration"
        raise psycopg.DataError(msg)
    return row
