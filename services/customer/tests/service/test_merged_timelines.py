"""Timelines of accounts and contacts that were merged: one history, and two again when it is taken back."""

from collections.abc import AsyncIterator
from typing import Any

import pytest_asyncio

from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crm.sales.v1 import opportunity_pb2 as sales
from crm.support.v1 import ticket_pb2 as support
from crmkit.testing.harness import Person
from crmkit.testing.postgres import TestServer

from .timelines import START, Watched, changed, opportunity, ticket, watched_service

ALL = "*"
OWN = (("customer.*", "OWN"), ("sales.*", "OWN"), ("support.*", "OWN"))


@pytest_asyncio.fixture(scope="module")
async def watched(postgres: TestServer) -> AsyncIterator[Watched]:
    """A service and the feeds of the others."""
    async with watched_service(postgres) as running:
        yield running


def accounts(watched: Watched) -> Any:
    return account_pb2_grpc.AccountServiceStub(watched.customer.channel)


async def merge(watched: Watched, person: Person, survivor: str, loser: str) -> None:
    request = account_pb2.MergeAccountsRequest(name=survivor, losers=[loser])
    await accounts(watched).MergeAccounts(request, metadata=person.metadata)


async def unmerge(watched: Watched, person: Person, survivor: str) -> None:
    request = account_pb2.UnmergeAccountsRequest(name=survivor)
    await accounts(watched).UnmergeAccounts(request, metadata=person.metadata)


async def test_the_survivor_shows_both_histories_until_they_part_again(watched: Watched) -> None:
    """INVARIANT: a merge and its undoing leave each timeline and each figure as it was."""
    ada = await watched.customer.person(ALL)
    one, other = await watched.account(ada), await watched.account(ada)
    for account in (one, other):
        deal = opportunity(account)
        await watched.hear(sales.OpportunityCreated(opportunity=deal), ada)
        await watched.interaction(ada, related=[account], occur_time=START)
    await watched.interaction(ada, related=[one, other], occur_time=START)
    before = [await watched.kinds(ada, name) for name in (one, other)]
    await merge(watched, ada, one, other)
    happened = 2 * ["OPPORTUNITY_CREATED"] + 3 * ["INTERACTION"]
    merged = await watched.kinds(ada, one, filter="NOT kind = ACCOUNT_MERGED")
    assert sorted(merged) == sorted(happened)
    assert await watched.kinds(ada, one, filter="kind = ACCOUNT_MERGED") == ["ACCOUNT_MERGED"]
    assert await watched.kinds(ada, other) == await watched.kinds(
        ada, one
    )  # the old name leads there
    assert (await watched.view(ada, one)).sales.open_count == 2
    # Sales has followed by now, and names the survivor of what was recorded with the other.
    again = changed(deal, account=one)
    await watched.hear(sales.OpportunityUpdated(opportunity=again), ada)
    assert (await watched.view(ada, one)).sales.open_count == 2
    await unmerge(watched, ada, one)
    about = "NOT kind = ACCOUNT_MERGED AND NOT kind = ACCOUNT_UNMERGED"
    after = [await watched.kinds(ada, name, filter=about) for name in (one, other)]
    assert after == before
    counts = [(await watched.view(ada, name)).sales.open_count for name in (one, other)]
    assert counts == [1, 1]


async def test_what_still_names_the_other_stands_with_the_survivor(watched: Watched) -> None:
    """An event that was under way; after the undoing it belongs to whom it named."""
    ada = await watched.customer.person(ALL)
    one, other = await watched.account(ada), await watched.account(ada)
    await merge(watched, ada, one, other)
    await watched.level()
    await watched.hear(support.TicketCreated(ticket=ticket(account=other)), ada)
    assert await watched.kinds(ada, one, filter='source = "support"') == ["TICKET_CREATED"]
    await unmerge(watched, ada, one)
    assert await watched.kinds(ada, one, filter='source = "support"') == []
    assert await watched.kinds(ada, other, filter='source = "support"') == ["TICKET_CREATED"]


async def test_who_may_read_the_survivor_sees_what_was_decided_on_the_other(
    watched: Watched,
) -> None:
    """Entries about the account itself follow the survivor's owner, also a later one."""
    ada, ben = await watched.customer.person(ALL), await watched.customer.person(*OWN)
    one, other = await watched.account(ada), await watched.account(ada)
    graded = account_pb2.GradeAccountRequest(name=other, grade="B", reason="Small")
    await accounts(watched).GradeAccount(graded, metadata=ada.metadata)
    await merge(watched, ada, one, other)
    await watched.level()
    given = account_pb2.TransferAccountRequest(name=one, owner=ben.name)
    await accounts(watched).TransferAccount(given, metadata=ada.metadata)
    kinds = ["ACCOUNT_TRANSFERRED", "ACCOUNT_MERGED", "ACCOUNT_GRADED"]
    assert await watched.kinds(ben, one) == kinds


async def test_two_contacts_that_are_one_have_one_history(watched: Watched) -> None:
    ada = await watched.customer.person(ALL)
    one, other = await watched.contact(ada), await watched.contact(ada)
    call = await watched.interaction(ada, participants=[other], occur_time=START)
    stub: Any = contact_pb2_grpc.ContactServiceStub(watched.customer.channel)
    request = contact_pb2.MergeContactsRequest(name=one, losers=[other])
    await stub.MergeContacts(request, metadata=ada.metadata)
    assert await watched.kinds(ada, one) == ["CONTACT_MERGED", "INTERACTION"]
    assert (await watched.view(ada, one)).last_touch.record == call.name
    taken_back = contact_pb2.UnmergeContactsRequest(name=one)
    await stub.UnmergeContacts(taken_back, metadata=ada.metadata)
    assert await watched.kinds(ada, one, filter="kind = INTERACTION") == []
    assert await watched.kinds(ada, other, filter="kind = INTERACTION") == ["INTERACTION"]
