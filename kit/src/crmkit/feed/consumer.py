"""Applies another service's events exactly once in effect.

The cursor row in this service's database is the whole inbox: what is at or below it is a duplicate,
the next one is applied together with the cursor in one transaction, and anything later is a gap
that is pulled from the source's feed. The row's lock makes that true across processes.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import datetime

import structlog

from crmkit import telemetry
from crmkit.call import Call
from crmkit.clock import now
from crmkit.consumer_status import ConsumerState, ConsumerStatus
from crmkit.db import Database, Transaction
from crmkit.feed import parked_events
from crmkit.feed.cursor import Cursor, lock_cursor, move_cursor, read_cursor
from crmkit.feed.events import Event
from crmkit.feed.faults import FeedDiverged, describe, is_transient
from crmkit.feed.loops import going_on
from crmkit.feed.pull import Puller

_log = structlog.get_logger(__name__)

Handler = Callable[[Event, Call], Awaitable[None]]
MakeCall = Callable[[Transaction, Event], Call]
BatchHook = Callable[[list[Event]], Awaitable[None]]

BATCH = 500
RETRY_SECONDS = (0.1, 1.0, 5.0)
_SECONDS_BETWEEN_CHECKS = 1.5


class Consumer:
    """What one service does with the events of one source."""

    def __init__(
        self,
        source: str,
        database: Database,
        handlers: Mapping[str, Sequence[Handler]],
        make_call: MakeCall,
        puller: Puller,
        *,
        on_batch_applied: BatchHook | None = None,
        retry_seconds: Sequence[float] = RETRY_SECONDS,
    ) -> None:
        """Wires a consumer.

        Args:
            source: The service whose feed is consumed.
            database: This service's own database.
            handlers: By routing key pattern: exact, a prefix (`identity.user.*`), or `#`.
            make_call: The piece of work that a handler does in a transaction for an event.
            puller: Reads the source's feed.
            on_batch_applied: Called after each commit with the events that it applied.
            retry_seconds: Pauses before an event that fails is tried again; then it is parked.
        """
        self.source = source
        self.puller = puller
        self.status = ConsumerStatus()
        self._database = database
        self._handlers = handlers
        self._make_call = make_call
        self._on_batch_applied = on_batch_applied
        self._retry_seconds = retry_seconds
        self._resolved: dict[str, tuple[Handler, ...]] = {}
        self._pulling = asyncio.Lock()

    # -- what the buses call

    async def receive(self, events: Sequence[Event]) -> None:
        """Applies delivered events, in feed order; pulls where they do not continue the cursor.

        Afterwards everything up to the last of them is applied.

        Raises:
            FeedDiverged: The source's feed is another one now; nothing more is applied.
            Exception: A transient failure; nothing is lost, try again later.
        """
        if not await self._apply(events):
            await self.catch_up()

    async def catch_up(self) -> None:
        """Pulls and applies until the source has no more; raises as `receive` does."""
        async with self._pulling:
            while True:
                cursor = await read_cursor(self._database, self.source)
                page = await self.puller.page(cursor.seq)
                head = page.head
                self._refuse_other_feed(cursor, head.feed_id, head.last_seq, head.chain)
                if not page.events:
                    self._level(cursor.seq, head.last_seq)
                    return
                events = [Event(wire) for wire in page.events]
                if not await self._apply(events, feed_id=head.feed_id):
                    moved = await read_cursor(self._database, self.source)
                    if moved.seq == cursor.seq:
                        self._diverge("the next event does not continue the chain")

    async def watch(self) -> None:
        """Looks at the source's head every second or two until told to stop; pulls what nobody brought."""
        previous = -1
        while going_on():
            await asyncio.sleep(_SECONDS_BETWEEN_CHECKS)
            try:
                await self.check()
                if previous == self.status.applied_seq < self.status.head_seq:
                    await self.catch_up()
                previous = self.status.applied_seq
            except Exception as error:  # noqa: BLE001 - the source is away; the next look may succeed
                _log.info("check_failed", source=self.source, error=describe(error))

    async def check(self) -> None:
        """Compares the cursor with the source's head; raises FeedDiverged if they do not fit."""
        asked = now()
        cursor = await read_cursor(self._database, self.source)
        head = await self.puller.head()
        self._refuse_other_feed(cursor, head.feed_id, head.last_seq, head.chain)
        self._level(cursor.seq, head.last_seq, asked)

    async def handle(self, event: Event, tx: Transaction) -> None:
        """Runs the event's handlers in a transaction."""
        for handler in self._handlers_of(event):
            call = self._make_call(tx, event)
            if not call.traceparent:  # an event of a time without traces, or a rebuild
                await handler(event, call)
                continue
            with telemetry.work(event.routing_key, call, feed_seq=event.feed_seq):
                await handler(event, call)

    # -- applying

    async def _apply(self, events: Sequence[Event], feed_id: str = "") -> bool:
        """Applies what continues the cursor; False if something is missing or does not fit."""
        if self.status.state is ConsumerState.DIVERGED and not feed_id:
            return False  # only a pull can tell that all is well again
        for start in range(0, len(events), BATCH):
            batch = events[start : start + BATCH]
            try:
                fits = await self._apply_batch(batch, feed_id)
            except Exception as error:
                if is_transient(error):
                    raise
                fits = await self._apply_singly(batch, feed_id)
            if not fits:
                return False
        return True

    async def _apply_batch(self, batch: Sequence[Event], feed_id: str) -> bool:
        async with self._database.transaction() as tx:
            cursor = await lock_cursor(tx, self.source, feed_id)
            new, fits = cursor.continued_by(batch)
            interesting = [event for event in new if self._handlers_of(event)]
            if interesting:
                blocked = await parked_events.blocked_subjects(tx, self.source, interesting)
                for event in interesting:
                    if event.subject in blocked:
                        await parked_events.park(tx, self.source, event, "waits for its subject", 0)
                    else:
                        await self.handle(event, tx)
            if new:
                await move_cursor(tx, self.source, new[-1])
        if new:
            await self._applied(new)
        return fits

    async def _apply_singly(self, batch: Sequence[Event], feed_id: str) -> bool:
        """Each event in a transaction of its own, so that only those at fault are held up."""
        for event in batch:
            for pause in (*self._retry_seconds, None):
                try:
                    fits = await self._apply_batch([event], feed_id)
                    break
                except Exception as error:
                    if is_transient(error):
                        raise
                    if pause is None:
                        fits = await self._park(event, error, feed_id)
                    else:
                        await asyncio.sleep(pause)
            if not fits:
                return False
        return True

    async def _park(self, event: Event, error: Exception, feed_id: str) -> bool:
        async with self._database.transaction() as tx:
            cursor = await lock_cursor(tx, self.source, feed_id)
            new, fits = cursor.continued_by([event])
            if new:
                attempts = len(self._retry_seconds) + 1
                await parked_events.park(tx, self.source, event, describe(error), attempts)
                await move_cursor(tx, self.source, event)
        if new:
            _log.error(
                "event_parked",
                source=self.source,
                feed_seq=event.feed_seq,
                kind=event.routing_key,
                error=describe(error),
            )
            await self._applied(new)
        return fits

    async def _applied(self, events: list[Event]) -> None:
        status = self.status
        status.applied_seq = max(status.applied_seq, events[-1].feed_seq)
        status.head_seq = max(status.head_seq, status.applied_seq)
        status.data_time = events[-1].time
        if self._on_batch_applied is not None:
            try:
                await self._on_batch_applied(events)
            except Exception as error:  # noqa: BLE001 - the events are applied, whatever the hook did
                _log.error("batch_hook_failed", source=self.source, error=describe(error))

    def _handlers_of(self, event: Event) -> tuple[Handler, ...]:
        found = self._resolved.get(event.routing_key)
        if found is None:
            found = tuple(
                handler
                for pattern, handlers in self._handlers.items()
                if _matches(pattern, event.routing_key)
                for handler in handlers
            )
            self._resolved[event.routing_key] = found
        return found

    # -- where we stand

    def _level(self, applied: int, head: int, asked: datetime | None = None) -> None:
        status = self.status
        status.state = ConsumerState.RUNNING
        status.applied_seq, status.head_seq = applied, head
        if applied >= head:
            status.caught_up = True
            status.data_time = asked or status.data_time

    def _refuse_other_feed(self, cursor: Cursor, feed_id: str, last_seq: int, chain: bytes) -> None:
        if cursor.feed_id and cursor.feed_id != feed_id:
            self._diverge("the source has another feed now")
        if cursor.seq > last_seq:
            self._diverge("the source's feed is shorter than what was applied")
        if cursor.seq == last_seq and cursor.chain != chain:
            self._diverge("the source's feed holds another event at the cursor")

    def _diverge(self, why: str) -> None:
        if self.status.state is not ConsumerState.DIVERGED:
            _log.error("feed_diverged", source=self.source, why=why)
        self.status.state = ConsumerState.DIVERGED
        raise FeedDiverged(why)


def _matches(pattern: str, routing_key: str) -> bool:
    if pattern == "#":
        return True
    if pattern.endswith("*"):
        return routing_key.startswith(pattern[:-1])
    return pattern == routing_key
