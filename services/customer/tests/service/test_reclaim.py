"""Customer pools that take accounts by themselves: in time, and never what somebody cares for."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from crm.common.v1.feed_pb2 import FeedEvent
from crm.customer.v1 import (
    account_pb2,
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
from crmkit.clock import clock
from crmkit.feed.events import Event
from crmkit.ids import uuid7
from crmkit.testing.harness import Person, ServiceUnderTest
from customer.messaging.consumed import on_opportunity

from .reclaims import accounts, after, get_account, hour, make_account, make_pool, work


async def interact(customer: ServiceUnderTest, person: Person, *related: str, **more: Any) -> None:
    interaction = interaction_pb2.Interaction(kind="CALL", related=related, **more)
    request = interaction_pb2.CreateInteractionRequest(interaction=interaction)
    stub = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    await stub.CreateInteraction(request, metadata=person.metadata)


def seconds(stamp: Any) -> float:
    return float(stamp.ToDatetime(UTC).timestamp())


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
