"""The bus without a broker: pull what is there, then follow the source's stream."""

import asyncio
import logging
from collections.abc import AsyncIterator
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
        """Applies what the stream brings, in the batches in which it comes.

        Ends with an error, or when it falls behind: whole pages then cost a fraction of single events.
        """
        ready: asyncio.Queue[FeedEvent | Exception] = asyncio.Queue(maxsize=2 * BATCH)
        async with aclosing(
            self._consumer.puller.stream(self._consumer.status.applied_seq)
        ) as stream:
            reading = asyncio.ensure_future(_fill(ready, stream))
            try:
                while going_on():
                    batch = await take(ready, BATCH)
                    events = [Event(item) for item in batch if isinstance(item, FeedEvent)]
                    await self._consumer.receive(events)
                    for item in batch:
                        if isinstance(item, Exception):
                            raise item
                    if len(batch) == BATCH:
                        return
                    if len(batch) >= _MANY:
                        await asyncio.sleep(_SECONDS_TO_GATHER)
            finally:
                reading.cancel()
                await asyncio.gather(reading, return_exceptions=True)


async def _fill(
    ready: "asyncio.Queue[FeedEvent | Exception]", stream: AsyncIterator[FeedEvent]
) -> None:
    """Reads ahead; the last item is the error that ended the stream."""
    try:
        async for event in stream:
            await ready.put(event)
        await ready.put(ConnectionError("the source ended its stream"))
    except Exception as error:  # noqa: BLE001 - raised where the events are applied
        await ready.put(error)
