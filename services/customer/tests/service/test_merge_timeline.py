"""The timeline of merged accounts and contacts."""

from collections.abc import AsyncIterator

import pytest_asyncio

from crm.sales.v1 import opportunity_pb2 as sales
from crmkit.testing.postgres import TestServer

from .merging import As
from .timelines import Watched, opportunity, watched_service

ALL = "*"


@pytest_asyncio.fixture(scope="module")
async def watched(postgres: TestServer) -> AsyncIterator[Watched]:
    """A service and the feeds of the others."""
    async with watched_service(postgres) as running:
        yield running


async def test_a_survivor_s_timeline_is_that_of_all_and_each_has_its_own_again(
    watched: Watched,
) -> None:
    """INVARIANT: nothing is lost or doubled in timelines by a merge and its undoing."""
    person = await watched.customer.person(ALL)
    ada = As(watched.customer, person)
    kept, gone = await watched.account(person), await watched.account(person)
    contact, twin = await watched.contact(person), await watched.contact(person)
    await watched.interaction(person, related=[kept], subject="one")
    await watched.interaction(person, related=[gone], participants=[twin], subject="two")
    await watched.interaction(person, related=[kept, gone], subject="both")
    deal = opportunity(gone)
    await watched.hear(sales.OpportunityCreated(opportunity=deal), person)

    async def told(of: str) -> list[str]:
        only = "kind = INTERACTION OR kind = OPPORTUNITY_CREATED"
        page = await watched.timeline(person, of, filter=only)
        return sorted(entry.title for entry in page.entries)

    before = [await told(one) for one in (kept, gone, contact, twin)]
    assert before[:2] == [["both", "one"], ["Ten licences", "both", "two"]]
    await ada.merge(await ada.get(kept), gone)
    await ada.merge(await ada.get(contact), twin)
    everything = ["Ten licences", "both", "one", "two"]
    assert await told(kept) == await told(gone) == everything
    assert await told(contact) == await told(twin) == ["two"]
    await ada.unmerge(await ada.get(contact))
    await ada.unmerge(await ada.get(kept))
    assert [await told(one) for one in (kept, gone, contact, twin)] == before
