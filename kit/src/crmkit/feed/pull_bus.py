"""The bus without a broker: pull what is there, then follow the source's stream."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing

import structlog

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.feed.consumer import BATCH, Consumer
from crmkit.feed.events import Event
from crmkit.feed.faults import describe
from crmkit.feed.loops import Backoff, going_on, run_until, take

# Where events come fast, let the next ones gather: a transaction for fifty costs little more than for one.
_MANY = 10
_SECONDS_TO_GATHER = 0.05
_PIECES_AHEAD = 4  # of 3 MiB at most

Piece = Sequence[FeedEvent]
_log = structlog.get_logger(__name__)


class PullBus:
    """Drives a consumer without a broker."""

    def __init__(self, consumer: Consumer) -> None:
        """Takes the consumer; its puller reads the source."""
        self._consumer = consumer

    async def run(self, stop: asyncio.Event) -> None:
        """Applies events until `stop` is set."""
        await run_until(stop, self._loop())

    async def _loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consumer.watch())
            group.create_task(self._follow())

    async def _follow(self) -> None:
        backoff = Backoff()
        level = logging.INFO  # while everything starts, sources come up in any order
        while going_on():
            try:
                await self._consumer.catch_up()
                # From here on it is a stream that ends: its connection got old, or its source stops.
                level = logging.INFO
                backoff.reset()
                await self._apply_stream()
                continue
            except Exception as error:  # noqa: BLE001 - whatever it is, a later attempt may succeed
                _log.log(level, "pull_failed", source=self._consumer.source, error=describe(error))
                level = logging.WARNING
            await backoff.pause()

    async def _apply_stream(self) -> None:
        """Applies what the stream brings, in the batches in which it comes; ends with an error."""
        ready: asyncio.Queue[Piece | Exception] = asyncio.Queue(maxsize=_PIECES_AHEAD)
        async with aclosing(
            self._consumer.puller.stream(self._consumer.status.applied_seq)
        ) as stream:
            reading = asyncio.ensure_future(_fill(ready, stream))
            try:
                while going_on():
                    pieces = await take(ready, _PIECES_AHEAD)
                    failed = next((p for p in pieces if isinstance(p, Exception)), None)
                    come = [p for p in pieces if not isinstance(p, Exception)]
                    events = [Event(wire) for piece in come for wire in piece]
                    await self._consumer.receive(events)
                    if failed is not None:
                        raise failed
                    if _MANY <= len(events) < BATCH:
                        await asyncio.sleep(_SECONDS_TO_GATHER)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _fill(ready: "asyncio.Queue[Piece | Exception]", stream: AsyncIterator[Piece]) -> None:
    """Reads ahead; the last item is the error that ended the stream."""
    try:
        async for piece in stream:
            await ready.put(piece)
        await ready.put(ConnectionError("the source ended its stream"))
    except Exception as error:  # noqa: BLE001 - raised where the events are applied
        await ready.put(error)
