"""The bus with RabbitMQ: events are pushed; what the broker lost is pulled.

The queue is a bounded cache. Nothing is ever given back to it: an event that cannot be applied now
makes us close the channel and come again, and what was dropped meanwhile shows as a gap.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import aio_pika
import structlog
from aio_pika.abc import AbstractChannel, AbstractIncomingMessage, AbstractQueue

from crmkit.feed.consumer import BATCH, Consumer
from crmkit.feed.events import Event, UndecodableEvent, from_amqp
from crmkit.feed.faults import describe
from crmkit.feed.loops import Backoff, going_on, run_until, take
from crmkit.feed.publisher import EXCHANGE, amqp_connection

_log = structlog.get_logger(__name__)

_AMQP_SECONDS = 5.0
_SECONDS_BETWEEN_LOOKS = 2.0
_QUEUE_ARGUMENTS: dict[str, Any] = {
    "x-queue-type": "quorum",
    "x-single-active-consumer": True,
    "x-max-length": 100_000,
    "x-overflow": "drop-head",
    "x-delivery-limit": 20,
}

Inbox = asyncio.Queue[AbstractIncomingMessage]


class AmqpBus:
    """Drives a consumer from its queue, `<consumer>.<source>`."""

    def __init__(self, name: str, consumer: Consumer, url: str) -> None:
        """Takes the consuming service's name, the consumer to drive, and the broker's AMQP URL."""
        self._url = url
        self._queue_name = f"{name}.{consumer.source}"
        self._consumer = consumer
        self._backoff = Backoff()

    async def run(self, stop: asyncio.Event) -> None:
        """Applies events until `stop` is set."""
        await run_until(stop, self._loop())

    async def _loop(self) -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(self._consumer.watch())  # keeps pulling while the broker is away
            group.create_task(self._consume())

    async def _consume(self) -> None:
        while going_on():
            try:
                async with amqp_connection(self._url) as connection:
                    channel = await asyncio.wait_for(
                        connection.channel(publisher_confirms=False), _AMQP_SECONDS
                    )
                    await self._deliver(channel)
            except Exception as error:  # noqa: BLE001 - whatever it is, a later attempt may succeed
                _log.warning("bus_failed", queue=self._queue_name, error=describe(error))
            await self._backoff.pause()

    async def _deliver(self, channel: AbstractChannel) -> None:
        await channel.set_qos(prefetch_count=BATCH, timeout=_AMQP_SECONDS)
        queue = await self._declare(channel)
        inbox: Inbox = asyncio.Queue()
        await queue.consume(inbox.put, timeout=_AMQP_SECONDS)
        await self._consumer.catch_up()
        while going_on():
            try:
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    messages = await take(inbox, BATCH)
            except TimeoutError:
                again = await self._declare(channel)  # heals a binding that somebody removed
                if channel.is_closed or not again.declaration_result.consumer_count:
                    msg = "the broker does not deliver to us any more"
                    raise ConnectionError(msg) from None
                continue
            await self._consumer.receive(self._events(messages))
            self._backoff.reset()
            async with asyncio.timeout(_AMQP_SECONDS):
                await messages[-1].ack(multiple=True)  # after the commit, never before

    async def _declare(self, channel: AbstractChannel) -> AbstractQueue:
        exchange = await channel.declare_exchange(
            EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, timeout=_AMQP_SECONDS
        )
        queue = await channel.declare_queue(
            self._queue_name, durable=True, arguments=_QUEUE_ARGUMENTS, timeout=_AMQP_SECONDS
        )
        await queue.bind(exchange, f"{self._consumer.source}.#", timeout=_AMQP_SECONDS)
        return queue

    def _events(self, messages: Sequence[AbstractIncomingMessage]) -> list[Event]:
        """The events in feed order; what is none is left out, the feed knows better."""
        events = []
        for message in messages:
            try:
                wire, _ = from_amqp(message)
            except UndecodableEvent as error:
                _log.warning("message_ignored", queue=self._queue_name, error=describe(error))
            else:
                events.append(Event(wire))
        return sorted(events, key=lambda event: event.feed_seq)
