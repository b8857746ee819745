"""Invariant: a test gets real servers, its own database, and never waits without an end."""

from collections.abc import Callable

import aio_pika
import psycopg
import pytest

from crmkit.testing import RabbitMQ, eventually, eventually_sync, free_port


def make_notes(url: str) -> None:
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE notes (text text)")


def test_each_database_is_a_copy_of_the_template_and_no_other_sees_it(
    template_database: Callable[[str, Callable[[str], None]], str],
    new_database: Callable[[str | None], str],
) -> None:
    template = template_database("notes", make_notes)
    assert template_database("notes", make_notes) == template
    first, second = new_database(template), new_database(template)
    with psycopg.connect(first) as connection:
        connection.execute("INSERT INTO notes VALUES ('mine')")
    with psycopg.connect(second) as connection:
        assert connection.execute("SELECT * FROM notes").fetchall() == []


async def test_a_confirmed_message_survives_a_kill_of_the_broker(rabbitmq: RabbitMQ) -> None:
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel(publisher_confirms=True)
        await channel.declare_queue("notes", durable=True)
        message = aio_pika.Message(b"hello", delivery_mode=aio_pika.DeliveryMode.PERSISTENT)
        await channel.default_exchange.publish(message, routing_key="notes")
    rabbitmq.restart()
    async with await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        queue = await channel.get_queue("notes")
        received = await eventually(lambda: queue.get(fail=False))
        assert received.body == b"hello"
        await received.ack()
        await queue.delete()


async def test_waiting_in_vain_names_the_last_answer() -> None:
    with pytest.raises(AssertionError, match="last answer was 0"):
        await eventually(lambda: 0, timeout=0.1)
    with pytest.raises(AssertionError, match=r"last answer was \[\]"):
        eventually_sync(list, timeout=0.1)


def test_free_ports_are_odd_and_below_those_of_clients() -> None:
    """Nor is one given twice: a cluster asks for all its ports before any server listens."""
    ports = {free_port() for _ in range(500)}
    assert len(ports) == 500
    assert all(port % 2 == 1 and 10_000 < port < 32_000 for port in ports)
