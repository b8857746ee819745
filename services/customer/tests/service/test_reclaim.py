"""Customer pools that take accounts by themselves: in time, once, and never what somebody cares for.

Time is the clock's, which the tests move. The jobs are what the service runs every hour.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from crm.common.v1.feed_pb2 import FeedEvent
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    appointment_pb2,
    appointment_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    customer_pool_pb2,
    customer_pool_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
)
from crm.sales.v1 import opportunity_pb2
from crmkit.access import service_principal
from crmkit.call import Call, new_call
from crmkit.clock import clock
from crmkit.feed.events import Event
from crmkit.ids import uuid7
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest
from customer.domain.interaction import Interaction
from customer.messaging.consumed import on_opportunity
from customer.storage import reclaim
from customer.storage.touch import touch_by_interactions
from customer.usecases import reclaim_account as jobs

Account = account_pb2.Account


def accounts(customer: ServiceUnderTest) -> Any:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


async def make_account(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    account = Account(**{"display_name": "Acme", **fields})
    request = account_pb2.CreateAccountRequest(account=account)
    return str((await accounts(customer).CreateAccount(request, metadata=person.metadata)).name)


async def get_account(customer: ServiceUnderTest, name: str) -> Any:
    boss = await customer.person("*")
    request = account_pb2.GetAccountRequest(name=name)
    return await accounts(customer).GetAccount(request, metadata=boss.metadata)


async def make_pool(customer: ServiceUnderTest, **fields: Any) -> tuple[str, Person]:
    """A pool for a team of its own, and somebody who works there."""
    boss, team = await customer.person("*"), await customer.team()
    pool = customer_pool_pb2.CustomerPool(
        display_name=f"East {uuid4()}", teams=[f"teams/{team}"], **fields
    )
    stub = customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)
    request = customer_pool_pb2.CreateCustomerPoolRequest(customer_pool=pool)
    made = await stub.CreateCustomerPool(request, metadata=boss.metadata)
    return made.name, await customer.person(("customer.*", "OWN"), team=team)


async def interact(customer: ServiceUnderTest, person: Person, *related: str, **more: Any) -> None:
    interaction = interaction_pb2.Interaction(kind="CALL", related=related, **more)
    request = interaction_pb2.CreateInteractionRequest(interaction=interaction)
    stub = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    await stub.CreateInteraction(request, metadata=person.metadata)


# -- time, and the jobs


@contextmanager
def after(days: float) -> Iterator[None]:
    with clock.shifted(timedelta(days=days)):
        yield


def work(customer: ServiceUnderTest) -> Call:
    return new_call(customer.running.home, service_principal("customer"))


async def hour(customer: ServiceUnderTest) -> None:
    """What the service does in an hour: returns when all that was promised is done."""
    call = work(customer)
    await jobs.begin_hour(call, {})
    await call.tx.commit()
    ahead = sa.func.now() + timedelta(minutes=30)  # the next hour is not to come
    mine = JOB.c.kind.in_([jobs.SCAN, jobs.RECLAIM])
    waiting = compile_statement(
        sa.select(JOB.c.id, JOB.c.error).where(mine, JOB.c.due_time < ahead)
    )

    async def nothing_is_left() -> bool:
        return not await customer.database.fetch_all(waiting)

    await eventually(nothing_is_left)


async def decide(customer: ServiceUnderTest, name: str) -> Call:
    """The decision on one account, not yet committed."""
    call = work(customer)
    await jobs.reclaim_account(call, {"account": name.partition("/")[2]})
    return call


def seconds(stamp: Any) -> float:
    return float(stamp.ToDatetime(UTC).timestamp())


# -- the way into the pool


async def test_who_does_nothing_is_warned_and_then_loses_the_account(
    customer: ServiceUnderTest,
) -> None:
    """Three days before, with an event that says when; then it is in the pool, with its contacts."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    account = await make_account(customer, ada)
    contact = contact_pb2.CreateContactRequest(
        contact=contact_pb2.Contact(given_name="Jane", account=account)
    )
    contacts = contact_pb2_grpc.ContactServiceStub(customer.channel)
    jane = await contacts.CreateContact(contact, metadata=ada.metadata)
    with after(26.9):
        await hour(customer)
        assert not (await get_account(customer, account)).HasField("reclaim_time")
    with after(27.1):
        await hour(customer)
        found = await get_account(customer, account)
        assert (found.reclaim_pool, found.owner) == (pool, ada.name)
        assert seconds(found.reclaim_time) == pytest.approx(
            seconds(found.create_time) + timedelta(days=30.1).total_seconds(), abs=60
        )
        await hour(customer)
        assert (await get_account(customer, account)).etag == found.etag  # told once
    with after(30.2):
        await hour(customer)
        found = await get_account(customer, account)
        assert (found.pool, found.owner, found.reclaim_pool) == (pool, "", "")
        await hour(customer)
    events = await customer.events(account, count=3)
    assert [e.routing_key.rpartition(".")[2] for e in events] == [
        "created", "reclaim_announced", "pooled",
    ]  # fmt: skip
    assert (events[1].owner, events[2].message.previous_owner) == (ada.id, ada.name)
    assert events[2].message.automatic
    boss = await customer.person("*")
    request = contact_pb2.GetContactRequest(name=jane.name)
    assert (await contacts.GetContact(request, metadata=boss.metadata)).owner == ""


async def test_a_new_rule_takes_nothing_without_a_warning(customer: ServiceUnderTest) -> None:
    """INVARIANT: however long nothing has happened, the owner has the days of the warning from now on."""
    pool, ada = await make_pool(customer)
    account = await make_account(customer, ada)
    stub = customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)
    rule = customer_pool_pb2.CustomerPool(name=pool, days_without_interaction=30, warning_days=7)
    boss = await customer.person("*")
    with after(400):
        await hour(customer)
        assert not (await get_account(customer, account)).HasField("reclaim_time")
        request = customer_pool_pb2.UpdateCustomerPoolRequest(customer_pool=rule)
        await stub.UpdateCustomerPool(request, metadata=boss.metadata)
        await hour(customer)
        await hour(customer)
        found = await get_account(customer, account)
        assert (found.pool, found.reclaim_pool) == ("", pool)
    with after(406.9):
        await hour(customer)
        assert (await get_account(customer, account)).pool == ""
    with after(407.1):
        await hour(customer)
        assert (await get_account(customer, account)).pool == pool


# -- what keeps it


async def _call(customer: ServiceUnderTest, ada: Person, account: str) -> None:
    await interact(customer, ada, account)


async def _contact(customer: ServiceUnderTest, ada: Person, account: str) -> None:
    request = contact_pb2.CreateContactRequest(
        contact=contact_pb2.Contact(given_name="Jane", account=account)
    )
    contacts = contact_pb2_grpc.ContactServiceStub(customer.channel)
    jane = await contacts.CreateContact(request, metadata=ada.metadata)
    await interact(customer, ada, participants=[jane.name])


async def _meeting(customer: ServiceUnderTest, ada: Person, account: str) -> None:
    stub = appointment_pb2_grpc.AppointmentServiceStub(customer.channel)
    start = clock.now() - timedelta(hours=2)
    appointment = appointment_pb2.Appointment(
        title="Lunch", start_time=start, end_time=start + timedelta(hours=1), related=[account]
    )
    made = await stub.CreateAppointment(
        appointment_pb2.CreateAppointmentRequest(appointment=appointment), metadata=ada.metadata
    )
    await stub.HoldAppointment(
        appointment_pb2.HoldAppointmentRequest(name=made.name), metadata=ada.metadata
    )


async def _transfer(customer: ServiceUnderTest, ada: Person, account: str) -> None:
    boss, ben = await customer.person("*"), await customer.person("customer.*", team=ada.team)
    request = account_pb2.TransferAccountRequest(name=account, owner=ben.name)
    await accounts(customer).TransferAccount(request, metadata=boss.metadata)


async def _grade(customer: ServiceUnderTest, _ada: Person, account: str) -> None:
    boss = await customer.person("*")
    request = account_pb2.GradeAccountRequest(name=account, grade="VIP")
    await accounts(customer).GradeAccount(request, metadata=boss.metadata)


@pytest.mark.parametrize("touch", [_call, _contact, _meeting, _transfer, _grade])
async def test_whoever_does_something_keeps_the_account(
    customer: ServiceUnderTest, touch: Any
) -> None:
    """INVARIANT: an announcement is called off, and the days count from what happened: a call, one with a
    contact, a meeting, another owner; what is exempt is not taken at all."""
    _, ada = await make_pool(customer, days_without_interaction=30, exempt_grades=["VIP"])
    account = await make_account(customer, ada)
    with after(28):
        await hour(customer)
        assert (await get_account(customer, account)).HasField("reclaim_time")
        await touch(customer, ada, account)
    with after(31):
        await hour(customer)
        found = await get_account(customer, account)
        assert (found.pool, found.reclaim_pool, found.HasField("reclaim_time")) == ("", "", False)
    with after(54):
        await hour(customer)
        assert (await get_account(customer, account)).pool == ""
    with after(56):
        await hour(customer)
        assert (await get_account(customer, account)).HasField("reclaim_time") == (
            touch is not _grade
        )


async def test_a_rule_on_opportunities_counts_opportunities(customer: ServiceUnderTest) -> None:
    """Begun, moved, ended; a call is none, nor is a change of its amount."""
    pool, ada = await make_pool(customer, days_without_opportunity=30)
    moved, quiet = [await make_account(customer, ada) for _ in range(2)]
    with after(20):
        for account in (moved, quiet):
            await interact(customer, ada, account)
        await sold(customer, moved, "stage_changed")
        await sold(customer, quiet, "updated")
    with after(28):
        await hour(customer)
        assert not (await get_account(customer, moved)).HasField("reclaim_time")
        assert (await get_account(customer, quiet)).reclaim_pool == pool


async def sold(customer: ServiceUnderTest, account: str, past: str) -> None:
    """Hears from sales of an opportunity."""
    message = {
        "stage_changed": opportunity_pb2.OpportunityStageChanged,
        "updated": opportunity_pb2.OpportunityUpdated,
    }[past]()
    message.opportunity.account = account
    message.opportunity.name = f"opportunities/{uuid7()}"
    wire = FeedEvent(
        event_id=str(uuid7()),
        subject=message.opportunity.name,
        type=message.DESCRIPTOR.full_name,
        routing_key=f"sales.opportunity.{past}",
        payload=message.SerializeToString(),
    )
    wire.time.FromDatetime(clock.now())
    wire.effective_time.FromDatetime(clock.now())
    call = work(customer)
    try:
        await on_opportunity(Event(wire), call)
        await call.tx.commit()
    finally:
        await call.tx.end()


async def test_an_interaction_of_long_ago_keeps_nothing(customer: ServiceUnderTest) -> None:
    """What counts is when it happened, not when somebody wrote it down."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    account = await make_account(customer, ada)
    with after(29):
        await interact(customer, ada, account, occur_time=datetime.now(UTC))
        await hour(customer)
        assert (await get_account(customer, account)).reclaim_pool == pool


async def test_accounts_of_other_teams_stay(customer: ServiceUnderTest) -> None:
    """A pool takes from its teams and those below them; what is in the trash, or nobody's, from no one."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    below = await customer.person(("customer.*", "OWN"), team=await customer.team(parent=ada.team))
    other = await customer.person(("customer.*", "OWN"), team=await customer.team())
    theirs, others, deleted = [await make_account(customer, p) for p in (below, other, ada)]
    request = account_pb2.DeleteAccountRequest(name=deleted)
    await accounts(customer).DeleteAccount(request, metadata=ada.metadata)
    with after(29):
        await hour(customer)
        assert (await get_account(customer, theirs)).reclaim_pool == pool
        for name in (others, deleted):
            assert not (await get_account(customer, name)).HasField("reclaim_time")


async def test_what_was_announced_is_called_off_with_the_rule(customer: ServiceUnderTest) -> None:
    """A pool that takes nothing any more, or is gone, is about to take nothing."""
    boss = await customer.person("*")
    stub = customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)
    found = []
    for _ in range(2):
        pool, ada = await make_pool(customer, days_without_interaction=30)
        found.append((pool, await make_account(customer, ada)))
    (ruled, first), (deleted, second) = found
    with after(29):
        await hour(customer)
        update = customer_pool_pb2.UpdateCustomerPoolRequest(
            customer_pool={"name": ruled}, update_mask={"paths": ["days_without_interaction"]}
        )
        await stub.UpdateCustomerPool(update, metadata=boss.metadata)
        delete = customer_pool_pb2.DeleteCustomerPoolRequest(name=deleted)
        await stub.DeleteCustomerPool(delete, metadata=boss.metadata)
        for name in (first, second):
            assert (await get_account(customer, name)).HasField("reclaim_time")
        await hour(customer)
        for name in (first, second):
            assert not (await get_account(customer, name)).HasField("reclaim_time")


# -- at the same time


async def test_something_that_happens_while_it_is_decided_comes_first_or_after(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: no account is taken that was touched before; whoever is first makes the other wait."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    early, late = [await make_account(customer, ada) for _ in range(2)]
    with after(28):
        await hour(customer)
    with after(32):
        touching = work(customer)
        await touch(touching, early)
        deciding = asyncio.create_task(decide(customer, early))
        await waits_for_lock(customer)
        await touching.tx.commit()
        call = await deciding
        await call.tx.commit()
        assert (await get_account(customer, early)).pool == ""

        call = await decide(customer, late)
        touching = work(customer)
        recording = asyncio.create_task(touch(touching, late))
        await waits_for_lock(customer)
        await call.tx.commit()
        await recording
        await touching.tx.commit()
        assert (await get_account(customer, late)).pool == pool
        for ended in (call, touching):
            await ended.tx.end()


async def touch(call: Call, account: str) -> None:
    happened = Interaction(
        id=uuid4(), create_time=call.now, update_time=call.now, related=[account],
        occur_time=call.now,
    )  # fmt: skip
    await touch_by_interactions(call, [happened])
    await call.tx.fetch_one(compile_statement(sa.text("SELECT 1")))  # until it was written


async def waits_for_lock(customer: ServiceUnderTest) -> None:
    waiting = compile_statement(
        sa.text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )

    async def somebody_waits() -> bool:
        row = await customer.database.fetch_one(waiting)
        return bool(row and row[0])

    await eventually(somebody_waits)


async def test_several_processes_take_it_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: one version, one event, however many look at the same hour and decide at once."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    account = await make_account(customer, ada)
    with after(28):
        await asyncio.gather(*(hour(customer) for _ in range(3)))
    with after(32):
        await asyncio.gather(
            *(hour(customer) for _ in range(3)), *(taken(customer, account) for _ in range(3))
        )
    found = await get_account(customer, account)
    assert (found.pool, found.etag) == (pool, '"3"')
    assert len(await customer.events(account, count=3)) == 3


async def taken(customer: ServiceUnderTest, account: str) -> None:
    call = await decide(customer, account)
    await call.tx.commit()
    await call.tx.end()


async def test_a_search_goes_on_where_it_stood(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some accounts at a time, each step with a promise of the next: a crash loses and repeats nothing."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    names = [await make_account(customer, ada) for _ in range(7)]
    few = compile_statement(sa.select(sa.func.count()).where(JOB.c.kind == jobs.SCAN))
    monkeypatch.setattr(jobs, "AT_ONCE", 2)
    monkeypatch.setattr(reclaim, "_OF_POOL", limited(2))
    with after(29):
        call = work(customer)
        await jobs.scan_for_pools(
            call, {"hour": clock.now().isoformat(), "pool": pool.partition("/")[2]}
        )
        row = await call.tx.fetch_one(few)
        assert row is not None
        assert row[0] == 1  # its continuation
        await call.tx.commit()
        await hour(customer)
        for name in names:
            assert (await get_account(customer, name)).reclaim_pool == pool


def limited(count: int) -> Any:
    statement = reclaim._OF_POOL
    return type(statement)(statement.sql, {**statement.constants, "param_1": count})


async def test_the_hours_go_on(customer: ServiceUnderTest) -> None:
    """INVARIANT: each hour promises the next, once; a start begins again where nothing is promised."""
    promised = compile_statement(
        sa.select(JOB.c.id).where(JOB.c.kind == jobs.HOUR, JOB.c.due_time > sa.func.now())
    )

    async def next_hour() -> list[UUID]:
        return [row[0] for row in await customer.database.fetch_all(promised)]

    first = await eventually(next_hour)
    await hour(customer)
    call = work(customer)
    await jobs.promise_hours(call)
    await call.tx.commit()
    assert set(first) <= set(await next_hour())
