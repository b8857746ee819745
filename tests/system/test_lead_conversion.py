"""Leads become customers through the gateway: one result however often it is asked for, or none."""

import asyncio
from typing import Any
from uuid import uuid4

import httpx

from .conftest import RunningSystem


async def qualified(crm: RunningSystem, **fields: Any) -> str:
    """A lead that is ready for conversion."""
    lead = await crm.admin.post("/v1/leads", fields)
    return str((await crm.admin.post(f"/v1/{lead['name']}:qualify"))["name"])


async def refusal(crm: RunningSystem, path: str, **body: Any) -> str:
    """The reason for which a call is refused."""
    answer = await crm.admin.http.post(path, json=body)
    assert answer.status_code != httpx.codes.OK, answer.text
    return str(next(d["reason"] for d in answer.json()["details"] if "reason" in d))


async def found(crm: RunningSystem, collection: str, filter_: str) -> list[Any]:
    listed = await crm.admin.get(f"/v1/{collection}", filter=filter_)
    return list(listed.get(collection, []))


async def test_ten_who_convert_a_lead_at_once_make_one_customer(crm: RunningSystem) -> None:
    """INVARIANT: a lead has one result, and everybody who asks is told it."""
    company = f"Initech {uuid4()}"
    lead = await qualified(
        crm,
        company=company,
        given_name="Bill",
        family_name="Lumbergh",
        emails=[{"address": "bill@initech.example"}],
        phones=[{"number": "030 901820"}],
        region_code="DE",
        amount={"currency_code": "EUR", "units": "5000"},
    )
    answers = await asyncio.gather(
        *(crm.admin.post(f"/v1/{lead}:convert", {"request_id": str(uuid4())}) for _ in range(10))
    )
    results = {(a["account"], a["contact"], a["opportunity"]) for a in answers}
    assert len(results) == 1
    assert sorted(a.get("replayed", False) for a in answers) == [False] + [True] * 9
    ((account, contact, opportunity),) = results
    read = await crm.admin.get(f"/v1/{account}")
    assert (read["kind"], read["display_name"]) == ("ORGANISATION", company)
    read = await crm.admin.get(f"/v1/{contact}")
    assert (read["account"], read["family_name"]) == (account, "Lumbergh")
    assert read["phones"][0]["number"] == "+4930901820"
    read = await crm.admin.get(f"/v1/{opportunity}")
    assert (read["account"], read["amount"]["units"], read["state"]) == (account, "5000", "OPEN")
    assert len(await found(crm, "accounts", f'display_name = "{company}"')) == 1
    assert len(await found(crm, "opportunities", f'account = "{account}"')) == 1
    read = await crm.admin.get(f"/v1/{lead}")
    assert (read["state"], read["account"], read["opportunity"]) == (
        "CONVERTED", account, opportunity,
    )  # fmt: skip


async def test_a_lead_without_a_company_becomes_a_private_person(crm: RunningSystem) -> None:
    lead = await qualified(crm, given_name="Ada", family_name=f"L {uuid4()}")
    made = await crm.admin.post(f"/v1/{lead}:convert", {"without_opportunity": True})
    assert made["opportunity"] == ""
    account = await crm.admin.get(f"/v1/{made['account']}")
    contact = await crm.admin.get(f"/v1/{made['contact']}")
    assert account["kind"] == "PERSON"
    assert contact["display_name"] == account["display_name"]


async def test_a_lead_becomes_part_of_what_is_there(crm: RunningSystem) -> None:
    """Nothing is made that was named; and a converted lead is nobody else's."""
    account = (await crm.admin.post("/v1/accounts", {"display_name": f"Globex {uuid4()}"}))["name"]
    other = (await crm.admin.post("/v1/accounts", {"display_name": f"Other {uuid4()}"}))["name"]
    body = {"family_name": "Scorpio", "account": account}
    contact = (await crm.admin.post("/v1/contacts", body))["name"]
    opportunity = (await crm.admin.post("/v1/opportunities", {"display_name": "Lasers"}))["name"]
    lead = await qualified(crm, company="Globex", family_name="Scorpio")
    wanted = {"contact": contact, "opportunity": opportunity}
    made = await crm.admin.post(f"/v1/{lead}:convert", wanted)
    assert made["account"] == account  # the contact's own
    assert (await crm.admin.get(f"/v1/{opportunity}"))["account"] == account
    assert await crm.admin.post(f"/v1/{lead}:convert", wanted) == {**made, "replayed": True}
    another = refusal(crm, f"/v1/{lead}:convert", account=other)
    assert await another == "LEAD_ALREADY_CONVERTED"
    missing = "accounts/0190a000-0000-7000-8000-000000000001"
    lead = await qualified(crm, company="Globex")
    assert await refusal(crm, f"/v1/{lead}:convert", account=missing) == "REFERENCE_NOT_FOUND"


async def test_a_private_persons_name_is_in_no_event(crm: RunningSystem) -> None:
    """INVARIANT: what a conversion makes is not called by a person's name: events are kept for ever."""
    name = f"Lovelace{uuid4().hex}"
    lead = await qualified(crm, family_name=name)
    made = await crm.admin.post(f"/v1/{lead}:convert")
    read = await crm.admin.get(f"/v1/{made['opportunity']}")
    assert name not in read["display_name"]
    events = await crm.admin.get("/v1/sales/events", subject=made["opportunity"])
    assert events["events"]
    assert name not in str(events)


async def test_whoever_names_a_record_may_change_it(crm: RunningSystem) -> None:
    """What a conversion changes of what is there, the caller could change by hand."""
    _, ben = await crm.person("Sales")
    lead = (await ben.post("/v1/leads", {"company": f"Initech {uuid4()}"}))["name"]
    await ben.post(f"/v1/{lead}:qualify")
    account = (await crm.admin.post("/v1/accounts", {"display_name": f"O {uuid4()}"}))["name"]
    body = {"display_name": "Lasers", "account": account}
    foreign = (await crm.admin.post("/v1/opportunities", body))["name"]
    refused = await ben.http.post(f"/v1/{lead}:convert", json={"opportunity": foreign})
    assert refused.status_code == httpx.codes.NOT_FOUND
    another = await refusal(crm, f"/v1/{lead}:convert", opportunity=foreign)
    assert another == "ANOTHER_ACCOUNT"
    lonely = (await crm.admin.post("/v1/contacts", {"family_name": "Nobody"}))["name"]
    assert await refusal(crm, f"/v1/{lead}:convert", contact=lonely) == "CONTACT_WITHOUT_ACCOUNT"
    assert (await ben.post(f"/v1/{lead}:convert"))["lead"]["state"] == "CONVERTED"
