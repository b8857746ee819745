"""Invariant: every event is applied once in effect and in order, however it is delivered."""

import asyncio
import random
from collections.abc import AsyncGenerator, Sequence

import psycopg
import pytest

from crm.common.v1 import feed_pb2
from crmkit.call import Call
from crmkit.consumer_status import ConsumerState
from crmkit.db import Transaction
from crmkit.errors import Unavailable
from crmkit.feed import parking
from crmkit.feed.consumer import Consumer
from crmkit.feed.events import Event
from crmkit.feed.faults import FeedDiverged
from crmkit.statements import Statement

from .conftest import Reader, Source, new_event, new_subject, open_database


async def delivered(source: Source, count: int) -> list[Event]:
    """Events as a bus delivers them."""
    await source.publish(*(new_event(new_subject()) for _ in range(count)))
    return [Event(wire) for wire in await source.log()]


async def test_what_is_delivered_twice_is_applied_once_and_needs_no_pull(
    source: Source, reader: Reader
) -> None:
    await source.publish(new_event(new_subject()))
    pages = Pages(source)
    consumer = reader.consumer(puller=pages)
    await consumer.catch_up()
    pages.asked.clear()
    events = (await delivered(source, 6))[1:]
    await consumer.receive(events[:4])
    await consumer.receive(events[2:])
    await consumer.receive(events)
    assert await reader.applied() == [1, 2, 3, 4, 5, 6, 7]
    assert pages.asked == []


async def test_a_gap_is_pulled_before_what_comes_after_it(source: Source, reader: Reader) -> None:
    pages = Pages(source)
    consumer = reader.consumer(puller=pages)
    await delivered(source, 2)
    await consumer.catch_up()
    pages.asked.clear()
    events = await delivered(source, 8)
    await consumer.receive(events[7:9])
    assert await reader.applied() == list(range(1, 11))
    assert pages.asked[0] == 2


async def test_any_order_of_delivery_ends_in_feed_order(source: Source, reader: Reader) -> None:
    consumer = reader.consumer()
    late: list[Event] = []
    shuffle = random.Random(7).shuffle
    for _ in range(10):
        new = (await delivered(source, 5))[-5:]
        late += new[:2]
        shuffle(late)
        for event in (*reversed(new[2:]), late.pop()):
            await consumer.receive([event])
    for event in late:
        await consumer.receive([event])
    assert await reader.applied() == list(range(1, 51))


async def test_long_history_is_pulled_page_by_page(source: Source, reader: Reader) -> None:
    await delivered(source, 2300)
    consumer = reader.consumer()
    await consumer.catch_up()
    assert await reader.applied() == list(range(1, 2301))
    assert consumer.status.caught_up
    assert consumer.status.state is ConsumerState.RUNNING


async def test_the_hook_hears_of_committed_events_only(source: Source, reader: Reader) -> None:
    events = await delivered(source, 3)
    reader.fails = {events[1].subject}
    reader.fails_with = raise_unavailable
    consumer = reader.consumer()
    with pytest.raises(Unavailable):
        await consumer.receive(events)
    assert reader.committed == []
    reader.fails.clear()
    await consumer.receive(events)
    assert reader.committed == [1, 2, 3]


async def test_a_crash_between_apply_and_commit_leaves_nothing(
    source: Source, reader: Reader
) -> None:
    events = await delivered(source, 3)

    async def crash(event: Event, call: Call) -> None:
        await reader.note(event, call)
        if event.feed_seq == 3:
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await reader.consumer({"#": [crash]}).receive(events)
    assert await reader.applied() == []
    await reader.consumer().receive(events)
    assert await reader.applied() == [1, 2, 3]


async def test_a_crash_between_commit_and_acknowledgement_applies_nothing_twice(
    source: Source, reader: Reader
) -> None:
    events = await delivered(source, 3)
    await reader.consumer().receive(events)
    await reader.consumer().receive(events)  # another process gets what was not acknowledged
    assert await reader.applied() == [1, 2, 3]


async def test_two_processes_that_apply_the_same_feed_apply_it_once(
    source: Source, reader: Reader
) -> None:
    await delivered(source, 1500)
    async with open_database(reader.database.url) as other:
        await asyncio.gather(
            reader.consumer().catch_up(),
            reader.consumer(database=other).catch_up(),
            reader.consumer().catch_up(),
        )
    assert await reader.applied() == list(range(1, 1501))


async def test_events_that_nobody_handles_only_move_the_cursor(
    source: Source, reader: Reader
) -> None:
    await source.publish(
        new_event(new_subject()),
        new_event(new_subject(), routing_key="customer.contact.created"),
        new_event(new_subject(), routing_key="customer.contact.merged"),
        new_event(new_subject()),
    )
    consumer = reader.consumer(
        {"customer.contact.*": [reader.note], "customer.contact.merged": [reader.note]}
    )
    await consumer.catch_up()
    assert await reader.applied() == [2, 3, 3]
    assert consumer.status.applied_seq == 4


async def raise_unavailable(_tx: Transaction) -> None:
    msg = "later"
    raise Unavailable(msg)


async def violate_a_constraint(tx: Transaction) -> None:
    await tx.execute(Statement("INSERT INTO relay_state SELECT * FROM relay_state", {}))


async def fail_before_reading(tx: Transaction) -> None:
    await tx.execute(Statement("SELECT 1 / 0", {}))
    await tx.fetch_one(Statement("SELECT 1", {}))


async def raise_a_plain_error(_tx: Transaction) -> None:
    msg = "poison"
    raise KeyError(msg)


@pytest.mark.parametrize("poison", [violate_a_constraint, fail_before_reading, raise_a_plain_error])
async def test_poison_parks_its_subject_only_and_replay_restores_the_order(
    source: Source, reader: Reader, poison: object
) -> None:
    sick, well = new_subject(), new_subject()
    await source.publish(
        *(new_event(subject, version) for version in (1, 2, 3) for subject in (sick, well))
    )
    reader.fails = {sick}
    reader.fails_with = poison  # type: ignore[assignment]
    consumer = reader.consumer()
    await consumer.catch_up()
    await source.publish(new_event(sick, 4), new_event(well, 4))
    await consumer.catch_up()
    assert [row[2] for row in await reader.ledger() if row[1] == well] == [1, 2, 3, 4]
    parked = await parking.list_parked(reader.database, "customer")
    assert [(p.event.subject, p.event.subject_version) for p in parked] == [
        (sick, version) for version in (1, 2, 3, 4)
    ]
    assert [p.attempts for p in parked] == [3, 0, 0, 0]
    assert consumer.status.applied_seq == 8

    reader.fails.clear()
    result = await parking.replay(reader.database, consumer)
    assert (result.applied, result.parked) == (4, 0)
    assert [row[2] for row in await reader.ledger() if row[1] == sick] == [1, 2, 3, 4]
    assert await parking.count_parked(reader.database) == {}
    await source.publish(new_event(sick, 5))
    await consumer.catch_up()
    assert [row[2] for row in await reader.ledger() if row[1] == sick] == [1, 2, 3, 4, 5]


async def test_an_event_of_an_unknown_type_is_parked(source: Source, reader: Reader) -> None:
    await source.publish(new_event(new_subject(), type="crm.customer.v9.Unheard"))

    async def read(event: Event, _call: Call) -> None:
        assert event.message

    await reader.consumer({"#": [read]}).catch_up()
    (parked,) = await parking.list_parked(reader.database)
    assert "UNKNOWN_EVENT_TYPE" in parked.error


async def test_a_transient_failure_parks_nothing(source: Source, reader: Reader) -> None:
    events = await delivered(source, 2)
    reader.fails = {events[1].subject}
    reader.fails_with = raise_unavailable
    consumer = reader.consumer()
    for _ in range(5):
        with pytest.raises(Unavailable):
            await consumer.catch_up()
    assert await parking.count_parked(reader.database) == {}
    reader.fails.clear()
    await consumer.catch_up()
    assert await reader.applied() == [1, 2]


async def test_a_lock_that_is_held_too_long_is_transient(source: Source, reader: Reader) -> None:
    await delivered(source, 1)

    async def wait_for_lock(event: Event, call: Call) -> None:
        await call.tx.execute(Statement("SET LOCAL lock_timeout = '50ms'", {}))
        await call.tx.execute(Statement("LOCK account", {}))
        await reader.note(event, call)

    consumer = reader.consumer({"#": [wait_for_lock]})
    async with await psycopg.AsyncConnection.connect(reader.database.url) as other:
        await other.execute("LOCK account")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await consumer.catch_up()
    await consumer.catch_up()
    assert await reader.applied() == [1]
    assert await parking.count_parked(reader.database) == {}


# -- a feed that is no longer the one that was applied


class Pages:
    """A source whose answers the test counts, and alters on the way."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.feed_id = ""
        self.alter_seq = 0
        self.asked: list[int] = []

    def _seen(self, head: feed_pb2.Head) -> feed_pb2.Head:
        head.feed_id = self.feed_id or head.feed_id
        return head

    async def head(self) -> feed_pb2.Head:
        return self._seen(await self.source.puller.head())

    async def page(self, after_seq: int) -> feed_pb2.ListFeedEventsResponse:
        self.asked.append(after_seq)
        page = await self.source.puller.page(after_seq)
        self._seen(page.head)
        for event in page.events:
            if event.feed_seq == self.alter_seq:
                event.actor = "users/another"
        return page

    def stream(self, after_seq: int) -> AsyncGenerator[Sequence[feed_pb2.FeedEvent], None]:
        return self.source.puller.stream(after_seq)


async def test_a_forged_delivery_is_not_applied_but_pulled(source: Source, reader: Reader) -> None:
    (event,) = await delivered(source, 1)
    consumer = reader.consumer()
    await consumer.catch_up()
    await source.publish(new_event(new_subject()))
    forged = feed_pb2.FeedEvent.FromString((await source.log())[1].SerializeToString())
    forged.subject = event.subject
    await consumer.receive([Event(forged)])
    assert [row[1] for row in await reader.ledger()] == [e.subject for e in await source.log()]


async def test_another_feed_id_stops_the_consumer_until_it_fits_again(
    source: Source, reader: Reader
) -> None:
    events = await delivered(source, 2)
    pages = Pages(source)
    consumer = reader.consumer(puller=pages)
    await consumer.catch_up()
    await source.publish(new_event(new_subject()))
    pages.feed_id = "00000000-0000-4000-8000-000000000000"
    with pytest.raises(FeedDiverged):
        await consumer.check()
    with pytest.raises(FeedDiverged):
        await consumer.receive([Event(wire) for wire in await source.log()])
    assert consumer.status.state is ConsumerState.DIVERGED
    assert len(await reader.applied()) == len(events)
    pages.feed_id = ""
    await consumer.catch_up()
    assert consumer.status.state is ConsumerState.RUNNING
    assert await reader.applied() == [1, 2, 3]


async def test_an_altered_event_in_the_feed_stops_the_consumer(
    source: Source, reader: Reader
) -> None:
    await delivered(source, 4)
    pages = Pages(source)
    pages.alter_seq = 3
    consumer = reader.consumer(puller=pages)
    with pytest.raises(FeedDiverged):
        await consumer.catch_up()
    assert await reader.applied() == [1, 2]


async def test_a_feed_shorter_than_the_cursor_stops_the_consumer(
    source: Source, reader: Reader
) -> None:
    await delivered(source, 3)
    consumer: Consumer = reader.consumer()
    await consumer.catch_up()
    for sql in ("UPDATE relay_state SET last_seq = 2", "DELETE FROM event_log WHERE feed_seq = 3"):
        await source.database.execute(Statement(sql, {}))
    with pytest.raises(FeedDiverged):
        await consumer.check()
