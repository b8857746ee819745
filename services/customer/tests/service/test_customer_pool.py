"""Customer pools over gRPC: how accounts go in and come out, also when several want them at once."""

import asyncio
from datetime import timedelta
from uuid import uuid4

import grpc
import pytest

from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import (
    account_pb2,
    contact_pb2,
    customer_pool_pb2,
)
from crmkit.clock import clock
from crmkit.testing.harness import ServiceUnderTest, details_of

from .customer_pools import (
    OWN,
    Account,
    accounts,
    claim,
    contacts,
    get_account,
    get_contact,
    listed,
    make_account,
    make_contact,
    make_pool,
    pools,
    refusal,
    release,
    unique,
)

TOMORROW = timedelta(days=1)


async def test_an_account_goes_into_a_pool_and_is_claimed(customer: ServiceUnderTest) -> None:
    """Its owner's contacts go with it, others' stay; each step is a version with its event and history."""
    boss, ben = await customer.person("*"), await customer.person(OWN)
    ada = await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, ada)
    own = await make_contact(customer, ada, account)
    others = await make_contact(customer, boss, account)
    pooled = await release(customer, ada, account, pool.name)
    assert (pooled.pool, pooled.owner, pooled.team) == (pool.name, "", "")
    assert pooled.HasField("pool_time")
    assert (await get_contact(customer, boss, own)).owner == ""
    assert (await get_contact(customer, boss, others)).owner == boss.name
    claimed = await claim(customer, ben, account)
    assert (claimed.pool, claimed.claim_pool, claimed.owner) == ("", pool.name, ben.name)
    assert not claimed.HasField("pool_time")
    assert (await get_contact(customer, ben, own)).owner == ben.name
    assert (await get_contact(customer, boss, others)).owner == boss.name
    events = await customer.events(account, count=3)
    assert [e.routing_key for e in events] == [
        "customer.account.created", "customer.account.pooled", "customer.account.claimed",
    ]  # fmt: skip
    assert (events[1].message.previous_owner, events[1].message.automatic) == (ada.name, False)
    assert (events[1].actor, events[2].message.pool) == (ada.name, pool.name)
    assert (events[2].actor, events[2].owner) == (ben.name, ben.id)
    answer = await accounts(customer).ListRevisions(
        ListRevisionsRequest(parent=account), metadata=ben.metadata
    )
    changed = {change.field for change in answer.revisions[0].changes}
    assert {"owner", "pool", "claim_pool"} <= changed


async def test_a_private_person_goes_with_their_contact(customer: ServiceUnderTest) -> None:
    """INVARIANT: account and contact of a person have one owner, or none, together."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, ada, display_name="Jane", kind=Account.PERSON)
    request = contact_pb2.ListContactsRequest(filter=f'person_account = "{account}"')
    await release(customer, ada, account, pool.name)
    (contact,) = (await contacts(customer).ListContacts(request, metadata=boss.metadata)).contacts
    assert contact.owner == ""
    await claim(customer, ada, account)
    (contact,) = (await contacts(customer).ListContacts(request, metadata=ada.metadata)).contacts
    assert contact.owner == ada.name


async def test_what_is_in_a_pool_is_not_released_and_what_is_not_is_not_claimed(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    code, reason, details = await refusal(claim(customer, boss, account))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION")
    found = details["metadata"]
    assert (found["state"], found["allowed_methods"]) == ("OWNED", "releaseToPool")
    await release(customer, boss, account, pool.name)
    code, reason, details = await refusal(release(customer, boss, account, pool.name))
    assert (reason, details["metadata"]["state"]) == ("ILLEGAL_TRANSITION", "IN_POOL")


async def test_a_version_that_is_not_the_latest_is_neither_released_nor_claimed(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    old = '"7"'
    _, reason, _ = await refusal(release(customer, boss, account, pool.name, etag=old))
    assert reason == "ETAG_MISMATCH"
    await release(customer, boss, account, pool.name, etag='"1"')
    assert (await refusal(claim(customer, boss, account, etag=old)))[1] == "ETAG_MISMATCH"
    assert (await claim(customer, boss, account, etag='"2"')).owner == boss.name


async def test_a_repeat_with_the_same_id_claims_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: an answer that was lost is had by asking again; nothing is counted twice."""
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique(), claim_limit=1)
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    request_id = str(uuid4())
    first = await claim(customer, boss, account, request_id=request_id)
    assert await claim(customer, boss, account, request_id=request_id) == first


async def test_a_pool_that_is_none_is_named_as_the_field_at_fault(
    customer: ServiceUnderTest,
) -> None:
    boss = await customer.person("*")
    account = await make_account(customer, boss)
    pool = await make_pool(customer, boss, unique())
    await pools(customer).DeleteCustomerPool(
        customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=boss.metadata
    )
    for name, wanted in (
        (pool.name, "REFERENCE_DELETED"),
        (f"customerPools/{uuid4()}", "REFERENCE_NOT_FOUND"),
        ("accounts/1", "INVALID_FIELD"),
        ("", "REQUIRED_FIELD"),
    ):
        _, reason, details = await refusal(release(customer, boss, account, name))
        assert (reason, details["fields"]) == (wanted, ["pool"])


async def test_a_manager_gives_what_is_in_a_pool_to_somebody(customer: ServiceUnderTest) -> None:
    """A transfer takes it out of the pool, and counts for nobody's limit."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), claim_limit=1)
    given, claimed = [await make_account(customer, boss) for _ in range(2)]
    for account in (given, claimed):
        await release(customer, boss, account, pool.name)
    request = account_pb2.TransferAccountRequest(name=given, owner=ada.name)
    moved = await accounts(customer).TransferAccount(request, metadata=boss.metadata)
    assert (moved.pool, moved.claim_pool, moved.owner) == ("", "", ada.name)
    assert (await claim(customer, ada, claimed)).owner == ada.name


@pytest.mark.parametrize("grants", ["OWN", "ALL"])
async def test_of_several_who_claim_at_once_one_gets_it(
    customer: ServiceUnderTest, grants: str
) -> None:
    """INVARIANT: exactly one becomes the owner; each other is told the state in which it is now."""
    boss = await customer.person("*")
    crowd = [await customer.person(("customer.*", grants)) for _ in range(6)]
    pool = await make_pool(customer, boss, unique())
    for _ in range(5):
        account = await make_account(customer, boss)
        await release(customer, boss, account, pool.name)
        answers = await asyncio.gather(
            *(claim(customer, person, account) for person in crowd), return_exceptions=True
        )
        won = [answer for answer in answers if isinstance(answer, Account)]
        lost = [details_of(answer) for answer in answers if isinstance(answer, grpc.RpcError)]
        assert (len(won), len(lost)) == (1, 5)
        assert {(d["reason"], d["metadata"]["state"]) for d in lost} == {
            ("ILLEGAL_TRANSITION", "OWNED")
        }
        assert (await get_account(customer, boss, account)).owner == won[0].owner
        kinds = [e.routing_key for e in await customer.events(account, count=3)]
        assert kinds.count("customer.account.claimed") == 1


@pytest.mark.parametrize("limit", ["claim_limit", "claim_limit_per_day"])
async def test_claims_at_once_do_not_pass_the_limit(customer: ServiceUnderTest, limit: str) -> None:
    """INVARIANT: whoever claims eight at a time has as many as they may, and the rest are refused."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), **{limit: 3})
    waiting = [await make_account(customer, boss) for _ in range(8)]
    for account in waiting:
        await release(customer, boss, account, pool.name)
    answers = await asyncio.gather(
        *(claim(customer, ada, account) for account in waiting), return_exceptions=True
    )
    refused = [details_of(answer) for answer in answers if isinstance(answer, grpc.RpcError)]
    assert len(refused) == 5
    assert {(d["reason"], d["metadata"]["limit"], d["metadata"]["allowed"]) for d in refused} == {
        ("CLAIM_LIMIT_REACHED", limit, "3")
    }
    assert len(await listed(customer, ada, f'owner = "{ada.name}"')) == 3


async def test_who_gives_one_back_may_claim_another_but_not_on_the_same_day(
    customer: ServiceUnderTest,
) -> None:
    """The limit of a day counts what was claimed, also what was given back; the next day begins anew."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    at_once = await make_pool(customer, boss, unique(), claim_limit=1)
    per_day = await make_pool(customer, boss, unique(), claim_limit_per_day=1)
    for pool, wanted in ((at_once, None), (per_day, "CLAIM_LIMIT_REACHED")):
        first, second = [await make_account(customer, boss) for _ in range(2)]
        for account in (first, second):
            await release(customer, boss, account, pool.name)
        await claim(customer, ada, first)
        await release(customer, ada, first, pool.name)
        if wanted is None:
            await claim(customer, ada, second)
        else:
            assert (await refusal(claim(customer, ada, second)))[1] == wanted
            with clock.shifted(TOMORROW):
                await claim(customer, ada, second)
