"""Sends the feed to RabbitMQ: a hint with low latency; what it loses, consumers pull.

Resumes from `published_seq`, so that after any doubt events are sent again, never left out.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any

import aio_pika
import psycopg
import structlog
from aio_pika.abc import AbstractConnection, AbstractExchange
from aio_pika.exceptions import PublishError
from prometheus_client import Counter

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.db import Database
from crmkit.errors import Failure
from crmkit.feed.events import to_amqp
from crmkit.feed.faults import describe
from crmkit.feed.feed import Feed
from crmkit.feed.loops import Backoff, going_on, run_until
from crmkit.feed.sequencer import dedicated_connection
from crmkit.statements import Row

_log = structlog.get_logger(__name__)

EXCHANGE = "crm.events"
BATCH = 500
_AMQP_SECONDS = 5.0
_CONFIRM_SECONDS = 10.0
_STANDBY_SECONDS = 2.0
_LEADER_LOCK = 0x63726D_666565  # any constant: each service has a database of its own
_SESSION = "-c statement_timeout=10s -c timezone=UTC"

UNROUTABLE = Counter(
    "crm_feed_unroutable_total", "Published events that no queue wanted", ["source"]
)
PUBLISHED = Counter("crm_feed_published_total", "Events confirmed by the broker", ["source"])


@asynccontextmanager
async def amqp_connection(url: str) -> AsyncIterator[AbstractConnection]:
    """A connection that is closed at the end, and that never reconnects by itself."""
    connection = await aio_pika.connect(url, timeout=_AMQP_SECONDS)
    try:
        yield connection
    except asyncio.CancelledError:
        task = asyncio.current_task()
        if task is not None and task.cancelling():
            raise
        msg = "the driver cancelled its own work: the connection is lost"
        raise ConnectionError(msg) from None
    finally:
        with suppress(Exception):  # it may be half dead; what matters is that we do not wait
            await asyncio.wait_for(connection.close(), _AMQP_SECONDS)


class Publisher:
    """Publishes one service's feed; of several, the holder of the advisory lock works."""

    def __init__(self, database: Database, feed: Feed, url: str) -> None:
        """Takes the service's database, its feed, and the broker's AMQP URL."""
        self._database = database
        self._feed = feed
        self._url = url
        self._backoff = Backoff()

    async def run(self, stop: asyncio.Event) -> None:
        """Publishes until `stop` is set."""
        await run_until(stop, self._loop())

    async def _loop(self) -> None:
        while going_on():
            try:
                async with self._leadership() as leader:
                    if leader is not None:
                        await self._publish_all(leader)
                await asyncio.sleep(_STANDBY_SECONDS)
            except (aio_pika.exceptions.AMQPError, psycopg.Error, OSError, TimeoutError,
                    RuntimeError, Failure) as error:  # fmt: skip
                _log.warning("publisher_failed", error=describe(error))
                await self._backoff.pause()

    @asynccontextmanager
    async def _leadership(self) -> AsyncIterator[psycopg.AsyncConnection[Row] | None]:
        """The connection that holds the lock; None while another process holds it."""
        connection = await dedicated_connection(self._database, _SESSION)
        try:
            cursor = await connection.execute("SELECT pg_try_advisory_lock(%s)", [_LEADER_LOCK])
            row = await cursor.fetchone()
            yield connection if row and row[0] else None
        finally:
            await connection.close()

    async def _publish_all(self, leader: psycopg.AsyncConnection[Row]) -> None:
        async with amqp_connection(self._url) as connection:
            channel = await asyncio.wait_for(
                connection.channel(publisher_confirms=True, on_return_raises=True), _AMQP_SECONDS
            )
            exchange = await channel.declare_exchange(
                EXCHANGE, aio_pika.ExchangeType.TOPIC, durable=True, timeout=_AMQP_SECONDS
            )
            feed_id, published = await self._position(leader)
            while going_on():
                events = await self._feed.read(published, BATCH)
                if not events:
                    await self._feed.wait_beyond(published)
                    continue
                await self._publish(exchange, events, feed_id)
                published = events[-1].feed_seq
                await leader.execute(
                    "UPDATE relay_state SET published_seq = GREATEST(published_seq, %s)",
                    [published],
                )
                self._backoff.reset()

    async def _position(self, leader: psycopg.AsyncConnection[Row]) -> tuple[str, int]:
        cursor = await leader.execute("SELECT feed_id, published_seq FROM relay_state")
        feed_id, published = await cursor.fetchone() or ("", 0)
        return str(feed_id), published

    async def _publish(
        self, exchange: AbstractExchange, events: Sequence[FeedEvent], feed_id: str
    ) -> None:
        """Sends a batch in order and waits for every confirm; raises at any doubt."""
        async with asyncio.timeout(_CONFIRM_SECONDS):
            outcomes: list[Any] = await asyncio.gather(
                *(
                    exchange.publish(
                        to_amqp(event, feed_id),
                        event.routing_key,
                        mandatory=True,
                        timeout=_CONFIRM_SECONDS,
                    )
                    for event in events
                ),
                return_exceptions=True,
            )
        for outcome in outcomes:
            if isinstance(outcome, BaseException) and not isinstance(outcome, PublishError):
                msg = "an event was not confirmed"
                raise ConnectionError(msg) from outcome
        source = events[0].routing_key.split(".", 1)[0]
        unroutable = sum(isinstance(outcome, PublishError) for outcome in outcomes)
        UNROUTABLE.labels(source).inc(unroutable)
        PUBLISHED.labels(source).inc(len(events) - unroutable)
