"""Reading a service's own event log, and waiting for more of it.

The sequencer of this process hands over what it has just committed, so that readers need not ask
the database; another process's progress is seen within a quarter of a second.
"""

import asyncio
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.db import Database
from crmkit.errors import Unavailable
from crmkit.feed.events import LOG_COLUMNS, from_row
from crmkit.schema import EVENT_LOG, RELAY_STATE
from crmkit.statements import compile_statement

PAGE_BYTES = 3 * 1024 * 1024
_ENVELOPE_BYTES = 700  # what the attributes of an event may need beside its payload
_SECONDS_BETWEEN_LOOKS = 0.25
_RECENT_EVENTS = 2000
_RECENT_BYTES = 8 * 1024 * 1024

_READ_HEAD = compile_statement(
    sa.select(RELAY_STATE.c.feed_id, RELAY_STATE.c.last_seq, RELAY_STATE.c.last_chain)
)
_candidates = (
    sa.select(
        *(EVENT_LOG.c[name] for name in LOG_COLUMNS),
        sa.func.sum(sa.func.octet_length(EVENT_LOG.c.payload) + _ENVELOPE_BYTES)
        .over(order_by=EVENT_LOG.c.feed_seq)
        .label("bytes"),
        sa.func.row_number().over(order_by=EVENT_LOG.c.feed_seq).label("number"),
    )
    .where(EVENT_LOG.c.feed_seq > sa.bindparam("after"))
    .order_by(EVENT_LOG.c.feed_seq)
    .limit(sa.bindparam("count"))
    .subquery()
)
# A page ends early where its bytes end; the first event always fits.
_READ = compile_statement(
    sa.select(*(_candidates.c[name] for name in LOG_COLUMNS))
    .where(sa.or_(_candidates.c.bytes <= PAGE_BYTES, _candidates.c.number == 1))
    .order_by(_candidates.c.feed_seq)
)


@dataclass(frozen=True, slots=True)
class FeedHead:
    """Where a feed stands: its identity, its newest event's number and chain."""

    feed_id: UUID
    last_seq: int
    chain: bytes


class Feed:
    """A service's own feed, shared by everything in this process that reads it."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self._recent: deque[FeedEvent] = deque()
        self._recent_bytes = 0
        self._last_seq = 0
        self._looked = float("-inf")
        self._moved = asyncio.Event()
        self._closed = False

    def close(self) -> None:
        """Ends the streams that wait for more: the process stops."""
        self._closed = True
        self._moved.set()

    async def head(self) -> FeedHead:
        """Where the feed stands now; raises Unavailable before the tables have been prepared."""
        row = await self.database.fetch_one(_READ_HEAD)
        if row is None:
            msg = "The feed has not been prepared."
            raise Unavailable(msg, reason="FEED_NOT_READY")
        self.advanced(row[1])
        return FeedHead(*row)

    async def read(self, after_seq: int, count: int) -> list[FeedEvent]:
        """Events after a number, oldest first: at most `count` and about 3 MiB, one if any."""
        recent = self._recent
        if recent and recent[0].feed_seq <= after_seq + 1:
            return _page(recent, after_seq + 1 - recent[0].feed_seq, count)
        known = self._last_seq
        rows = await self.database.fetch_all(_READ, {"after": after_seq, "count": count})
        if not rows and known == self._last_seq > after_seq:
            self._last_seq = after_seq  # a restored log is shorter than the one we knew
        return [from_row(row) for row in rows]

    def advanced(self, last_seq: int, events: Sequence[FeedEvent] = ()) -> None:
        """Takes note of the newest number, and of the events just committed by this process."""
        self._looked = time.monotonic()
        if events:
            self._remember(events)
        if last_seq > self._last_seq:
            self._last_seq = last_seq
            self._moved.set()
            self._moved = asyncio.Event()
            if self._recent and self._recent[-1].feed_seq < last_seq:
                self._forget()  # another process has numbered events that we have not seen

    def _remember(self, events: Sequence[FeedEvent]) -> None:
        if self._recent and self._recent[-1].feed_seq + 1 != events[0].feed_seq:
            self._forget()
        for event in events:
            self._recent.append(event)
            self._recent_bytes += len(event.payload)
        while len(self._recent) > _RECENT_EVENTS or self._recent_bytes > _RECENT_BYTES:
            self._recent_bytes -= len(self._recent.popleft().payload)

    def _forget(self) -> None:
        self._recent.clear()
        self._recent_bytes = 0

    async def wait_beyond(self, seq: int) -> None:
        """Returns once the feed has an event after this number; raises Unavailable when closed."""
        while self._last_seq <= seq:
            if self._closed:
                msg = "The service is stopping."
                raise Unavailable(msg)
            moved = self._moved
            try:
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await moved.wait()
            except TimeoutError:
                if time.monotonic() - self._looked >= _SECONDS_BETWEEN_LOOKS:
                    self._looked = time.monotonic()  # one look serves everyone who waits
                    await self.head()


def _page(recent: deque[FeedEvent], start: int, count: int) -> list[FeedEvent]:
    page: list[FeedEvent] = []
    size = 0
    for index in range(start, min(start + count, len(recent))):
        event = recent[index]
        size += len(event.payload) + _ENVELOPE_BYTES
        if page and size > PAGE_BYTES:
            break
        page.append(event)
    return page
