"""Facts follow from events alone: exactly once in effect, and the same again when built anew."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from uuid import uuid4

import grpc
import psycopg
import pytest
import sqlalchemy as sa
from google.protobuf.message import Message
from google.type.money_pb2 import Money

from crm.customer.v1.account_pb2 import Account, AccountCreated
from crm.identity.v1.team_pb2 import Team, TeamCreated
from crm.reporting.v1.projection_pb2 import ProjectionStatus, RebuildProjectionRequest
from crm.sales.v1 import opportunity_pb2 as sales
from crm.support.v1.ticket_pb2 import Ticket, TicketCreated
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.clock import now
from crmkit.feed.cursor import read_cursor
from crmkit.statements import compile_statement
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually
from reporting.projections.rebuild import rebuild, request_rebuild
from reporting.queries.statement import Question
from reporting.storage import build
from reporting.storage.facts import FACTS
from reporting.storage.facts_hash import facts_hash

Opportunity = sales.Opportunity


def life_of_an_opportunity() -> list[Message]:
    """Created, won, given to somebody else, reopened, won again, deleted and restored."""
    users = [f"users/{uuid4()}" for _ in range(3)]
    one = Opportunity(
        name=f"opportunities/{uuid4()}", state=Opportunity.OPEN, owner=users[0], probability=0.3,
        amount=Money(currency_code="USD", units=100),
    )  # fmt: skip
    one.lines.extend(Opportunity.Line(product=f"products/{uuid4()}") for _ in range(3))
    one.open_time.FromJsonString("2017-01-01T00:00:00Z")
    steps: list[Message] = [sales.OpportunityCreated(opportunity=one)]
    one.state = Opportunity.WON
    one.close_time.FromJsonString("2017-02-01T00:00:00Z")
    steps.append(sales.OpportunityWon(opportunity=one))
    one.owner = users[1]
    steps.append(sales.OpportunityUpdated(opportunity=one))
    one.state = Opportunity.OPEN
    one.ClearField("close_time")
    del one.lines[0]
    steps.append(sales.OpportunityReopened(opportunity=one))
    one.state = Opportunity.WON
    one.close_time.FromJsonString("2017-03-01T00:00:00Z")
    steps.append(sales.OpportunityWon(opportunity=one))
    one.owner = users[2]
    steps.append(sales.OpportunityUpdated(opportunity=one))
    one.delete_time.FromJsonString("2017-04-01T00:00:00Z")
    steps.append(sales.OpportunityDeleted(opportunity=one))
    one.ClearField("delete_time")
    steps.append(sales.OpportunityUndeleted(opportunity=one))
    return steps


def some_history() -> list[Message]:
    team = Team(name=f"teams/{uuid4()}", display_name="West")
    account = Account(name=f"accounts/{uuid4()}", display_name="Acme")
    ticket = Ticket(name=f"tickets/{uuid4()}", state=Ticket.NEW, account=account.name)
    return [
        TeamCreated(team=team),
        AccountCreated(account=account),
        TicketCreated(ticket=ticket),
        *(step for _ in range(20) for step in life_of_an_opportunity()),
    ]


async def test_applying_everything_again_changes_no_bit(facts: Any) -> None:
    """INVARIANT G4: what is applied twice leaves the facts as they are."""
    events = facts.events(*some_history())
    await facts.apply(events)
    once = await facts_hash(facts.home.database)
    await facts.apply(events)
    assert await facts_hash(facts.home.database) == once


async def test_the_hash_sees_every_change(facts: Any) -> None:
    empty = await facts_hash(facts.home.database)
    events = facts.events(*life_of_an_opportunity())
    seen = {empty}
    for event in events[:-1]:
        await facts.apply([event])
        seen.add(await facts_hash(facts.home.database))
    assert len(seen) == len(events)


async def test_a_hash_and_a_swap_never_wait_for_each_other(facts: Any) -> None:
    """INVARIANT: neither breaks the other off: both take the tables in one order."""
    database = facts.home.database
    first, *others = [table.name for table in FACTS.tables.values()]
    waiting = compile_statement(sa.text("SELECT FROM pg_locks WHERE NOT granted"))
    async with database.connection() as swap, swap.transaction():
        await swap.execute(f"LOCK TABLE {first} IN ACCESS EXCLUSIVE MODE")
        hashing = asyncio.create_task(facts_hash(database))
        await eventually(lambda: database.fetch_all(waiting))
        await swap.execute("SET LOCAL lock_timeout = '2s'")
        await swap.execute(f"LOCK TABLE {', '.join(others)} IN ACCESS EXCLUSIVE MODE")
    assert await hashing == await facts_hash(database)


async def test_a_deleted_record_leaves_the_metrics_and_a_restored_one_returns(facts: Any) -> None:
    events = facts.events(*life_of_an_opportunity())
    question = Question(("opportunities_won",))
    await facts.apply(events[:-1])
    assert (await facts.ask(question)).rows[0][1] == {"opportunities_won": "0"}
    await facts.apply(events[-1:])
    assert (await facts.ask(question)).rows[0][1] == {"opportunities_won": "1"}


@pytest.mark.parametrize(
    ("source", "live", "built", "diverged", "resumed"),
    [
        ("identity", 3, 5, False, 3),  # rights of 4 and 5 are still to be applied
        ("sales", 5, 3, False, 3),  # facts of 4 and 5 are still to be applied
        ("sales", 5, 3, True, 3),
        ("sales", 3, 5, True, 5),
        ("identity", 3, 5, True, 0),
    ],
)
async def test_after_a_swap_each_source_goes_on_where_nothing_is_left_out(
    facts: Any, *, source: str, live: int, built: int, diverged: bool, resumed: int
) -> None:
    """INVARIANT: a swap may make events be applied twice, never not at all."""
    database = facts.home.database
    schema = await build.create(database)
    old = uuid4()
    new = uuid4() if diverged else old
    put = "INSERT INTO {}consumer_cursor VALUES (%s, %s, %s, 'chain', now())"
    async with database.connection() as connection:
        await connection.execute(put.format(""), [source, old, live])
        await connection.execute(put.format(f"{schema}."), [source, new, built])
    async with database.transaction() as tx:
        await build.swap(tx, schema, now(), {source} if diverged else set())
    cursor = await read_cursor(database, source)
    assert (cursor.feed_id, cursor.seq) == (str(new), resumed)


# -- with a running service


async def _rebuilt(reporting: Any, before: ProjectionStatus) -> ProjectionStatus:
    async def done() -> ProjectionStatus | None:
        status: ProjectionStatus = await reporting.status()
        new = status.rebuild_time.ToDatetime() > before.rebuild_time.ToDatetime()
        return status if new and status.state == ProjectionStatus.LIVE else None

    found: ProjectionStatus = await eventually(done, timeout=30)
    return found


async def test_a_rebuild_gives_the_same_facts_bit_for_bit(reporting: Any) -> None:
    """INVARIANT G6: live facts equal those built anew from the feeds, and go on from there."""
    await reporting.publish(*some_history())
    live, before = await reporting.facts_hash(), await reporting.status()
    started = await reporting.projection.RebuildProjection(
        RebuildProjectionRequest(), metadata=reporting.metadata
    )
    assert started.state == ProjectionStatus.REBUILDING
    await _rebuilt(reporting, before)
    assert await reporting.facts_hash() == live
    await reporting.publish(*some_history())
    changed = await reporting.facts_hash()
    assert changed != live
    await request_rebuild(reporting.service.database)
    await _rebuilt(reporting, await reporting.status())
    assert await reporting.facts_hash() == changed


async def test_a_rebuild_repairs_facts_that_were_tampered_with(reporting: Any) -> None:
    await reporting.publish(*some_history())
    right, before = await reporting.facts_hash(), await reporting.status()
    async with reporting.service.database.connection() as connection:
        await connection.execute("UPDATE fact_opportunity SET amount = amount + 1")
        await connection.execute("DELETE FROM dim_team")
    assert await reporting.facts_hash() != right
    await request_rebuild(reporting.service.database)
    await _rebuilt(reporting, before)
    assert await reporting.facts_hash() == right


@asynccontextmanager
async def _no_swap(reporting: Any) -> AsyncIterator[None]:
    """Holds what a rebuild needs to swap the facts, as a slow consumer would."""
    async with reporting.service.database.connection() as connection, connection.transaction():
        await connection.execute("SELECT FROM consumer_cursor FOR UPDATE")
        yield


async def test_one_rebuild_at_a_time_and_answers_meanwhile(reporting: Any) -> None:
    """INVARIANT: a second request is refused by name; queries are answered from the old facts."""
    await reporting.publish(*some_history())
    live, before = await reporting.facts_hash(), await reporting.status()
    async with _no_swap(reporting):
        await request_rebuild(reporting.service.database)
        await eventually(lambda: _schemas(reporting))
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await reporting.projection.RebuildProjection(
                RebuildProjectionRequest(), metadata=reporting.metadata
            )
        assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
        assert details_of(caught.value)["reason"] == "REBUILD_RUNNING"
        meanwhile = await reporting.status(hash_facts=True)
        assert (meanwhile.state, meanwhile.facts_hash) == (ProjectionStatus.REBUILDING, live)
    await _rebuilt(reporting, before)
    assert await reporting.facts_hash() == live


async def test_a_rebuild_that_dies_before_the_swap_leaves_the_live_facts(reporting: Any) -> None:
    """INVARIANT: there is no half-swapped state; what was half built is dropped by the next one."""
    await reporting.publish(*some_history())
    live, before = await reporting.facts_hash(), await reporting.status()
    home = reporting.service.running.home
    call = new_call(home, service_principal("reporting"))
    async with _no_swap(reporting):
        dying = asyncio.create_task(rebuild(call, {}))
        await eventually(lambda: _schemas(reporting))
        dying.cancel()
        # On a slow machine it may have given up already: it waits for the swap for a while only.
        with suppress(asyncio.CancelledError, psycopg.errors.LockNotAvailable):
            await dying
        await call.tx.end()
    assert await reporting.facts_hash() == live
    assert len(await _schemas(reporting)) == 1
    await request_rebuild(reporting.service.database)
    await _rebuilt(reporting, before)
    assert await reporting.facts_hash() == live
    assert await _schemas(reporting) == []


async def test_a_source_with_another_feed_leads_to_a_rebuild_by_itself(reporting: Any) -> None:
    """INVARIANT: after a source was restored from a backup, facts tell its history and no other."""
    await reporting.publish(*some_history())
    before = await reporting.status()
    await reporting.feeds.restore_to_empty()
    history = some_history()
    last = await reporting.feeds.publish(*history)
    await _rebuilt(reporting, before)
    await reporting.applied(last)
    answer = await reporting.status(hash_facts=True)
    async with reporting.service.database.connection() as connection:
        count = await (await connection.execute("SELECT count(*) FROM fact_opportunity")).fetchone()
    assert count == (20,)
    await request_rebuild(reporting.service.database)
    await _rebuilt(reporting, answer)
    assert await reporting.facts_hash() == answer.facts_hash


async def test_an_event_that_cannot_be_applied_holds_up_its_record_only(reporting: Any) -> None:
    """INVARIANT: it counts as parked, before and after a rebuild, and the others are applied."""
    broken = Opportunity(name="opportunities/nobody")
    await reporting.publish(sales.OpportunityCreated(opportunity=broken), *some_history())
    live, before = await reporting.facts_hash(), await reporting.status()
    assert {s.source: s.parked_count for s in before.sources}["sales"] == 1
    await request_rebuild(reporting.service.database)
    after = await _rebuilt(reporting, before)
    assert {s.source: s.parked_count for s in after.sources}["sales"] == 1
    assert await reporting.facts_hash() == live


async def _schemas(reporting: Any) -> list[Any]:
    async with reporting.service.database.connection() as connection:
        found = await connection.execute(
            "SELECT nspname FROM pg_namespace WHERE nspname LIKE 'facts_build_%'"
        )
        return await found.fetchall()
