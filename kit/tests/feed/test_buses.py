"""Invariant: either bus brings every event once and in order, whatever happens to the bus."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import aio_pika
import grpc
import pytest
from aio_pika.abc import AbstractChannel

from crmkit.feed.amqp import AmqpBus
from crmkit.feed.consumer import Consumer
from crmkit.feed.events import from_amqp
from crmkit.feed.publisher import EXCHANGE, UNROUTABLE, Publisher
from crmkit.feed.pull import GrpcPuller
from crmkit.feed.pull_bus import PullBus
from crmkit.statements import Statement
from crmkit.testing import RabbitMQ, eventually

from .conftest import Reader, Source, new_event, new_subject, serve

Run = Callable[[Any], None]
StartBus = Callable[[Consumer], None]
_QUEUE = "sales.customer"
_PUBLISHED = Statement("SELECT published_seq FROM relay_state", {})


@asynccontextmanager
async def amqp_channel(rabbitmq: RabbitMQ) -> AsyncIterator[AbstractChannel]:
    async with await aio_pika.connect(rabbitmq.url) as connection:
        yield await connection.channel()


async def delete_queue(rabbitmq: RabbitMQ) -> None:
    async with amqp_channel(rabbitmq) as channel:
        await channel.queue_delete(_QUEUE)


@pytest.fixture(params=["pull", "rabbitmq"])
async def start_bus(request: Any, source: Source, run: Run) -> StartBus:
    """Starts the source's loops, and a consumer on the bus under test."""
    run(source.sequencer.run)
    if request.param == "pull":
        return lambda consumer: run(PullBus(consumer).run)
    rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
    await delete_queue(rabbitmq)
    run(Publisher(source.database, source.feed, rabbitmq.url).run)
    return lambda consumer: run(AmqpBus("sales", consumer, rabbitmq.url).run)


async def applied_up_to(reader: Reader, last: int, timeout: float = 10) -> None:  # noqa: ASYNC109
    """Waits for the last event; then each must have been applied once, in order."""

    async def reached() -> bool:
        return last in await reader.applied()

    await eventually(reached, timeout)
    assert await reader.applied() == list(range(1, last + 1))


async def write(source: Source, count: int) -> None:
    for _ in range(count):
        await source.write(new_event(new_subject()))


async def test_what_happened_before_and_what_happens_now_arrives(
    source: Source, reader: Reader, start_bus: StartBus
) -> None:
    await write(source, 5)
    consumer = reader.consumer()
    start_bus(consumer)
    await applied_up_to(reader, 5)
    await asyncio.gather(*(write(source, 20) for _ in range(4)))
    await applied_up_to(reader, 85)
    await eventually(lambda: consumer.status.caught_up and consumer.status.head_seq == 85)
    assert consumer.status.data_time is not None


async def test_an_event_arrives_soon_after_its_commit(
    source: Source, reader: Reader, start_bus: StartBus
) -> None:
    """Measured lag is some 10 ms; the limit leaves room for a busy machine."""
    start_bus(reader.consumer())
    await write(source, 1)
    await applied_up_to(reader, 1)
    lags = []
    for last in range(2, 22):
        began = monotonic()
        await write(source, 1)
        await eventually(lambda last=last: last in reader.committed)
        lags.append(monotonic() - began)
    assert sorted(lags)[10] < 0.2


async def test_a_consumer_that_was_away_gets_what_it_missed(
    source: Source, reader: Reader, start_bus: StartBus
) -> None:
    stop = asyncio.Event()
    first = asyncio.ensure_future(PullBus(reader.consumer()).run(stop))
    await write(source, 3)
    await applied_up_to(reader, 3)
    stop.set()
    await first
    await write(source, 30)
    start_bus(reader.consumer())
    await applied_up_to(reader, 33)


async def test_two_processes_of_one_service_apply_each_event_once(
    source: Source, reader: Reader, start_bus: StartBus
) -> None:
    start_bus(reader.consumer())
    start_bus(reader.consumer())
    await asyncio.gather(*(write(source, 30) for _ in range(4)))
    await applied_up_to(reader, 120)


async def test_a_database_error_of_the_consumer_delays_and_loses_nothing(
    source: Source, reader: Reader, start_bus: StartBus
) -> None:
    start_bus(reader.consumer())
    await write(source, 2)
    await applied_up_to(reader, 2)
    await source.database.execute(  # ends the reader's sessions, not its server
        Statement(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %(name)s",
            {"name": reader.database.url.rpartition("/")[2]},
        )
    )
    await write(source, 20)
    await eventually(lambda: 22 in reader.committed, timeout=20)
    await applied_up_to(reader, 22)


async def test_a_source_that_was_away_is_followed_again(
    source: Source, reader: Reader, run: Run
) -> None:
    run(source.sequencer.run)
    await write(source, 3)
    second = source.address.replace("127.0.0.1", "127.0.0.2")
    async with grpc.aio.insecure_channel(second) as channel:
        run(PullBus(reader.consumer(puller=GrpcPuller(channel, tuple))).run)
        async with serve(source.feed, second):
            await applied_up_to(reader, 3)
        await write(source, 3)
        async with serve(source.feed, second):
            await applied_up_to(reader, 6, timeout=20)


# -- RabbitMQ only


@pytest.fixture
async def broker(rabbitmq: RabbitMQ, source: Source, reader: Reader, run: Run) -> RabbitMQ:
    """A source and a reader that are connected to a real broker and have exchanged an event."""
    await delete_queue(rabbitmq)
    run(source.sequencer.run)
    run(Publisher(source.database, source.feed, rabbitmq.url).run)
    run(AmqpBus("sales", reader.consumer(), rabbitmq.url).run)
    await write(source, 1)
    await applied_up_to(reader, 1)
    return rabbitmq


async def test_a_broker_that_is_killed_in_the_middle_loses_nothing(
    source: Source, reader: Reader, broker: RabbitMQ
) -> None:
    before = 1
    settled = monotonic() + 2  # RabbitMQ 3.10 may lose a queue that is younger than a second
    while monotonic() < settled:
        await write(source, 5)
        before += 5
    writing = asyncio.ensure_future(write(source, 300))
    await asyncio.to_thread(broker.kill)
    await writing
    await applied_up_to(reader, before + 300)  # pulled: reports need no broker to stay current
    await asyncio.to_thread(broker.start)
    await write(source, 50)
    await applied_up_to(reader, before + 350)
    await eventually(lambda: published(source, before + 350), timeout=40)
    await eventually(lambda: consumed(broker), timeout=40)
    await applied_up_to(reader, before + 350)


async def published(source: Source, seq: int) -> bool:
    row = await source.database.fetch_one(_PUBLISHED)
    return row is not None and row[0] >= seq


async def test_a_purged_queue_and_a_deleted_one_lose_nothing(
    source: Source, reader: Reader, broker: RabbitMQ
) -> None:
    async with amqp_channel(broker) as channel:
        writing = asyncio.ensure_future(write(source, 100))
        queue = await channel.get_queue(_QUEUE)
        for _ in range(5):
            await queue.purge()
        await writing
        await applied_up_to(reader, 101)
        await channel.queue_delete(_QUEUE)
    await write(source, 20)
    await applied_up_to(reader, 121)
    await eventually(lambda: consumed(broker), timeout=20)


async def consumed(broker: RabbitMQ) -> bool:
    """True once the queue exists again and somebody consumes it."""
    async with amqp_channel(broker) as channel:
        try:
            queue = await channel.declare_queue(_QUEUE, passive=True)
        except aio_pika.exceptions.ChannelNotFoundEntity:
            return False
        return bool(queue.declaration_result.consumer_count)


async def test_old_messages_and_foreign_ones_change_nothing(
    source: Source, reader: Reader, broker: RabbitMQ
) -> None:
    await source.database.execute(Statement("UPDATE relay_state SET published_seq = 0", {}))
    async with amqp_channel(broker) as channel:
        exchange = await channel.get_exchange(EXCHANGE)
        await exchange.publish(aio_pika.Message(b"nonsense"), "customer.account.created")
    await write(source, 5)
    await applied_up_to(reader, 6)


async def test_a_message_carries_the_whole_event(source: Source, broker: RabbitMQ) -> None:
    async with amqp_channel(broker) as channel:
        exchange = await channel.get_exchange(EXCHANGE)
        queue = await channel.declare_queue(exclusive=True)
        await queue.bind(exchange, "customer.#")
        await write(source, 1)
        message = await eventually(lambda: queue.get(fail=False, no_ack=True))
    assert message is not None
    wire, feed_id = from_amqp(message)
    assert wire == (await source.log())[-1]
    assert feed_id == str((await source.feed.head()).feed_id)
    assert message.delivery_mode == aio_pika.DeliveryMode.PERSISTENT
    assert message.headers["source"] == "/customer"


async def test_an_event_that_no_queue_wants_counts_as_published(
    source: Source, rabbitmq: RabbitMQ, run: Run
) -> None:
    counter = UNROUTABLE.labels("nobody")
    before = counter._value.get()
    run(source.sequencer.run)
    run(Publisher(source.database, source.feed, rabbitmq.url).run)
    await source.write(new_event(new_subject(), routing_key="nobody.listens.here"))
    await eventually(lambda: published(source, 1))
    assert counter._value.get() == before + 1
