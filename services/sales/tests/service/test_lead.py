"""Leads over gRPC: worked on, given away, and seen by whom."""

from typing import Any

import grpc
import pytest

from crm.sales.v1 import lead_pb2, lead_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Lead = lead_pb2.Lead


def stub(sales: ServiceUnderTest) -> Any:
    return lead_pb2_grpc.LeadServiceStub(sales.channel)


async def create(sales: ServiceUnderTest, person: Person, **fields: Any) -> Any:
    lead = Lead(**{"company": "Initech", "family_name": "Lumbergh", **fields})
    request = lead_pb2.CreateLeadRequest(lead=lead)
    return await stub(sales).CreateLead(request, metadata=person.metadata)


async def do(sales: ServiceUnderTest, person: Person, verb: str, name: str, **more: Any) -> Any:
    request = getattr(lead_pb2, f"{verb}LeadRequest")(name=name, **more)
    return await getattr(stub(sales), f"{verb}Lead")(request, metadata=person.metadata)


async def refusal(call: Any) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = details_of(refused.value)
    return details["reason"], details["fields"]


async def test_a_lead_is_worked_on_and_its_events_say_so_without_the_person(
    sales: ServiceUnderTest,
) -> None:
    """Personal data stays out of events; each step is one."""
    ada = await sales.person("sales.*")
    lead = await create(sales, ada, source="referral", emails=[{"address": "Bill@Initech.example"}])
    assert (lead.state, lead.display_name) == (Lead.NEW, "Lumbergh · Initech")
    assert lead.emails[0].address == "bill@initech.example"
    for verb, state in (
        ("Start", Lead.WORKING), ("Nurture", Lead.NURTURING), ("Start", Lead.WORKING),
        ("Qualify", Lead.QUALIFIED),
    ):  # fmt: skip
        assert (await do(sales, ada, verb, lead.name)).state == state
    given_up = await do(sales, ada, "Disqualify", lead.name, reason="no_budget")
    assert (given_up.state, given_up.disqualify_reason) == (Lead.DISQUALIFIED, "no_budget")
    again = await do(sales, ada, "Reopen", lead.name)
    assert (again.state, again.disqualify_reason) == (Lead.WORKING, "")
    events = await sales.events(lead.name, count=7)
    assert [e.routing_key.rpartition(".")[2] for e in events] == [
        "created", "started", "nurtured", "started", "qualified", "disqualified", "reopened",
    ]  # fmt: skip
    assert "Lumbergh" not in str([e.message for e in events])
    assert "Initech" not in str([e.message for e in events])


async def test_a_lead_is_given_up_for_a_reason(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*")
    lead = await create(sales, ada)
    attempt = do(sales, ada, "Disqualify", lead.name, reason="  ")
    assert await refusal(attempt) == ("REQUIRED_FIELD", ["reason"])


async def test_a_teams_leads_go_to_whoever_has_the_fewest(sales: ServiceUnderTest) -> None:
    """INVARIANT: given to a team one by one, nobody of it has two more than somebody else."""
    team = await sales.team()
    ada = await sales.person("sales.*")
    members = [(await sales.person("sales.*", team=team)).name for _ in range(3)]
    owners = []
    for _ in range(7):
        lead = await create(sales, ada)
        owners.append((await do(sales, ada, "Assign", lead.name, team=f"teams/{team}")).owner)
    counts = sorted(owners.count(member) for member in members)
    assert counts == [2, 2, 3]


async def test_to_whom_a_lead_can_be_given_is_checked(sales: ServiceUnderTest) -> None:
    ada = await sales.person("sales.*")
    ben = await sales.person(("sales.*", "OWN"))
    lead = await create(sales, ada)
    empty = f"teams/{await sales.team()}"
    nobody = "users/0190a000-0000-7000-8000-000000000001"
    assert await refusal(do(sales, ada, "Assign", lead.name)) == ("REQUIRED_FIELD", ["owner"])
    both = do(sales, ada, "Assign", lead.name, owner=ben.name, team=empty)
    assert await refusal(both) == ("REQUIRED_FIELD", ["owner"])
    assert await refusal(do(sales, ada, "Assign", lead.name, team=empty)) == (
        "TEAM_EMPTY",
        ["team"],
    )
    to_nobody = do(sales, ada, "Assign", lead.name, owner=nobody)
    assert await refusal(to_nobody) == ("REFERENCE_NOT_FOUND", ["owner"])
    assert (await do(sales, ada, "Assign", lead.name, owner=ben.name)).owner == ben.name
    away = do(sales, ben, "Assign", lead.name, owner=ada.name)
    assert await refusal(away) == ("OWNER_OUT_OF_SCOPE", ["lead.owner"])


async def test_only_a_qualified_lead_is_converted_by_who_may_make_what_it_becomes(
    sales: ServiceUnderTest,
) -> None:
    """What the caller could not do by hand, a conversion does not do for them."""
    ada = await sales.person("sales.*")
    lead = await create(sales, ada)
    assert (await refusal(do(sales, ada, "Convert", lead.name)))[0] == "ILLEGAL_TRANSITION"
    await do(sales, ada, "Qualify", lead.name)
    assert (await refusal(do(sales, ada, "Convert", lead.name)))[0] == "PERMISSION_DENIED"
    carl = await sales.person("sales.*", ("customer.*", "OWN"))
    attempt = do(sales, carl, "Convert", lead.name)
    assert await refusal(attempt) == ("OWNER_OUT_OF_SCOPE", ["lead.owner"])
    stale = do(sales, carl, "Convert", lead.name, etag="no such version")
    assert (await refusal(stale))[0] == "ETAG_MISMATCH"
    get = lead_pb2.GetLeadRequest(name=lead.name)
    read = await stub(sales).GetLead(get, metadata=ada.metadata)
    assert read.state == Lead.QUALIFIED
