"""Invariant: every committed event gets one number, dense, in the order of its record's changes."""

import asyncio
from collections.abc import Callable
from typing import Any

import psycopg

from crmkit.db import Database, Transaction
from crmkit.feed import outbox
from crmkit.feed.events import chain_of
from crmkit.feed.feed import Feed
from crmkit.feed.sequencer import Sequencer
from crmkit.statements import Statement
from crmkit.testing import eventually

from .conftest import Source, new_event, new_subject, open_database

_LOCK_ACCOUNT = Statement("UPDATE account SET version = version + 1 RETURNING version", {})
_COUNT = Statement("SELECT count(*) FROM event_log", {})


async def count(database: Database) -> int:
    row = await database.fetch_one(_COUNT)
    assert row is not None
    return int(row[0])


async def change(database: Database, subject: str) -> None:
    """One change of the one shared record: locks its row, then writes its event."""
    async with database.transaction() as tx:
        row = await tx.fetch_one(_LOCK_ACCOUNT)
        assert row is not None
        await outbox.append(tx, [new_event(subject, row[0])])


async def test_eight_writers_and_two_sequencers_leave_no_gap_and_break_no_order(
    source: Source, run: Callable[[Any], None]
) -> None:
    shared = new_subject()
    await source.database.execute(Statement("INSERT INTO account VALUES (0)", {}))
    async with open_database(source.database.url) as other:
        run(source.sequencer.run)
        run(Sequencer(other, Feed(other)).run)

        async def writer() -> None:
            for _ in range(40):
                await change(source.database, shared)
                await source.write(new_event(new_subject()), new_event(new_subject()))

        await asyncio.gather(*(writer() for _ in range(8)))
        await eventually(lambda: written(source, 8 * 40 * 3))
    log = await source.log()
    assert [event.feed_seq for event in log] == list(range(1, 8 * 40 * 3 + 1))
    versions = [event.subject_version for event in log if event.subject == shared]
    assert versions == list(range(1, 8 * 40 + 1))


async def written(source: Source, expected: int) -> bool:
    return await count(source.database) == expected


async def test_every_event_continues_the_chain_and_the_head_names_its_end(source: Source) -> None:
    await source.publish(*(new_event(new_subject()) for _ in range(20)))
    await source.publish(*(new_event(new_subject(), imported=True) for _ in range(3)))
    chain = b""
    for event in await Feed(source.database).read(0, 1000):  # from the table, not from memory
        assert event.chain == chain_of(chain, event)
        chain = event.chain
    head = await source.feed.head()
    assert (head.last_seq, head.chain) == (23, chain)


async def test_what_readers_get_from_memory_is_what_the_log_holds(source: Source) -> None:
    await source.publish(*(new_event(new_subject(), team=None) for _ in range(5)))
    assert await source.feed.read(0, 10) == await Feed(source.database).read(0, 10)
    assert await source.feed.read(3, 1) == await Feed(source.database).read(3, 1)


async def test_an_event_of_a_rolled_back_transaction_is_never_numbered(source: Source) -> None:
    tx = Transaction(source.database)
    await outbox.append(tx, [new_event(new_subject())])
    await tx.end()
    kept = new_event(new_subject())
    await source.publish(kept)
    assert [event.subject for event in await source.log()] == [kept.subject]


async def test_a_bulk_write_is_numbered_in_its_order(source: Source) -> None:
    events = [new_event(new_subject()) for _ in range(2500)]
    async with source.database.transaction() as tx:
        await outbox.append_many(tx, events)
    while await source.sequencer.run_once():
        pass
    assert [event.subject for event in await source.log()] == [event.subject for event in events]


async def test_a_sequencer_that_lost_its_connection_goes_on(
    source: Source, run: Callable[[Any], None]
) -> None:
    run(source.sequencer.run)
    await source.write(new_event(new_subject()))
    await eventually(lambda: written(source, 1))
    async with await psycopg.AsyncConnection.connect(
        source.database.url, autocommit=True
    ) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            " AND query LIKE '%relay_state%'"
        )
    await eventually(lambda: survives(source))
    await eventually(lambda: written(source, 2))


async def survives(source: Source) -> bool:
    try:
        await source.write(new_event(new_subject()))
    except psycopg.OperationalError:
        return False  # the writer's own connection was ended too
    return True


async def test_a_stopped_process_cannot_hold_the_fence(source: Source) -> None:
    """The session limit ends a zombie in the middle of its transaction; then work goes on."""
    await source.write(new_event(new_subject()))
    async with await psycopg.AsyncConnection.connect(
        source.database.url, options="-c idle_in_transaction_session_timeout=300ms"
    ) as zombie:
        await zombie.execute("SELECT 1 FROM relay_state FOR UPDATE")
        assert await source.sequencer.run_once() == 1  # waits for the fence, at most 5 s
        assert zombie.closed or zombie.broken or await fails(zombie)


async def fails(connection: psycopg.AsyncConnection[Any]) -> bool:
    try:
        await connection.execute("SELECT 1")
    except psycopg.Error:
        return True
    return False


async def test_events_that_clash_by_a_fault_do_not_hold_up_the_feed(source: Source) -> None:
    """The same event twice is kept once; two events at one place of a record are both kept."""
    subject = new_subject()
    repeated, first, second = (new_event(s) for s in (new_subject(), subject, subject))
    await source.publish(repeated)
    await source.publish(first, second, repeated, new_event(new_subject()))
    await source.publish(new_event(subject), new_event(subject, event_index=1))
    log = await source.log()
    assert [event.feed_seq for event in log] == [1, 2, 3, 4, 5, 6]
    assert [event.event_index for event in log if event.subject == subject] == [0, 1, 2, 3]
    assert len({event.event_id for event in log}) == 6
