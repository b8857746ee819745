"""Invariant: a parked event leaves by being applied, or by a person's decision with a reason."""

import asyncio

import pytest

from crmkit.call import Call
from crmkit.errors import InvalidArgument, NotFound
from crmkit.feed import parking
from crmkit.feed.consumer import Consumer
from crmkit.feed.events import Event

from .conftest import Reader, Source, new_event, new_subject


async def park_three(source: Source, reader: Reader) -> tuple[Consumer, str]:
    subject = new_subject()
    reader.fails = {subject}
    await source.publish(*(new_event(subject, version) for version in (1, 2, 3)))
    consumer = reader.consumer()
    await consumer.catch_up()
    return consumer, subject


async def test_a_replay_that_fails_again_keeps_every_event_of_the_subject(
    source: Source, reader: Reader
) -> None:
    consumer, subject = await park_three(source, reader)
    result = await parking.replay(reader.database, consumer, subject)
    assert (result.applied, result.parked) == (0, 3)
    parked = await parking.list_parked(reader.database)
    assert [p.attempts for p in parked] == [4, 0, 0]
    assert await reader.applied() == []


async def test_a_skipped_event_is_left_out_and_the_later_ones_wait_for_a_replay(
    source: Source, reader: Reader
) -> None:
    consumer, subject = await park_three(source, reader)
    await parking.skip(
        reader.database, "customer", 1, reason="a test record", actor="users/operator"
    )
    reader.fails.clear()
    await source.publish(new_event(subject, 4))
    await consumer.catch_up()
    assert await reader.applied() == []  # version 4 must not overtake 2 and 3
    await parking.replay(reader.database, consumer)
    assert [row[2] for row in await reader.ledger()] == [2, 3, 4]


async def test_skipping_needs_a_reason_and_a_parked_event(source: Source, reader: Reader) -> None:
    await park_three(source, reader)
    with pytest.raises(InvalidArgument):
        await parking.skip(reader.database, "customer", 1, reason=" ", actor="users/operator")
    with pytest.raises(NotFound):
        await parking.skip(reader.database, "customer", 9, reason="gone", actor="users/operator")
    assert await parking.count_parked(reader.database) == {"customer": 3}


async def test_an_event_that_arrives_during_a_replay_does_not_overtake(
    source: Source, reader: Reader
) -> None:
    _, subject = await park_three(source, reader)
    reader.fails.clear()
    arrivals: list[asyncio.Task[None]] = []

    async def note_and_publish(event: Event, call: Call) -> None:
        await reader.note(event, call)
        if event.subject_version == 1:
            await source.publish(new_event(subject, 4))
            arrivals.append(asyncio.ensure_future(reader.consumer().catch_up()))

    await parking.replay(reader.database, reader.consumer({"#": [note_and_publish]}))
    await asyncio.gather(*arrivals)
    await parking.replay(reader.database, reader.consumer())
    assert [row[2] for row in await reader.ledger()] == [1, 2, 3, 4]
