"""One slice through all services: from a front-end call to a report."""

from typing import Any
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import Client, RunningSystem


async def metric(client: Client, metric_id: str, account: str, **query: Any) -> str | None:
    """One metric of one account's records."""
    body = {"metrics": [metric_id], "group_by": ["account"], **query}
    answer = await client.post("/v1/metrics:query", body)
    for row in answer["rows"]:
        if row["dimensions"]["account"] == account:
            value: str | None = row["values"].get(metric_id)
            return value
    return None


async def won_opportunity(client: Client, amount: str = "1200") -> tuple[str, Any]:
    """A new account and an opportunity with it, won."""
    account = await client.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    opportunity = await client.post(
        "/v1/opportunities",
        {
            "display_name": "Big deal",
            "account": account["name"],
            "amount": {"currency_code": "EUR", "units": amount},
        },
    )
    won = await client.post(f"/v1/{opportunity['name']}:win", {"etag": opportunity["etag"]})
    return account["name"], won


async def test_a_won_opportunity_reaches_the_report(crm: RunningSystem) -> None:
    """Edge sales.opportunity.won → reporting: facts."""
    account, won = await won_opportunity(crm.admin)
    assert won["state"] == "WON"

    async def reported() -> bool:
        query = {"currency_code": "EUR"}
        return await metric(crm.admin, "won_amount", account, **query) == "1200.0000"

    await eventually(reported)


async def test_a_won_opportunity_makes_the_account_a_customer(crm: RunningSystem) -> None:
    """Edge sales.opportunity.won → customer: PROSPECT becomes CUSTOMER."""
    account, _ = await won_opportunity(crm.admin)

    async def is_customer() -> bool:
        return bool((await crm.admin.get(f"/v1/{account}"))["state"] == "CUSTOMER")

    await eventually(is_customer)


async def test_a_ticket_counts_as_open_until_it_is_resolved(crm: RunningSystem) -> None:
    """Edge support.ticket.* → reporting: facts."""
    account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    ticket = await crm.admin.post(
        "/v1/tickets", {"subject": "It does not work", "account": account["name"]}
    )

    async def open_tickets() -> str | None:
        return await metric(crm.admin, "tickets_open", account["name"])

    async def one_open() -> bool:
        return await open_tickets() == "1"

    async def none_open() -> bool:
        return await open_tickets() in {None, "0"}

    await eventually(one_open)
    await crm.admin.post(f"/v1/{ticket['name']}:start")
    await crm.admin.post(f"/v1/{ticket['name']}:resolve", {"resolution": "Switched it on"})
    await eventually(none_open)


async def test_a_user_is_known_everywhere_and_sees_only_what_is_theirs(crm: RunningSystem) -> None:
    """Edge identity.user.* → all: rights; scope OWN holds in every service and in reports."""
    roles = (await crm.admin.get("/v1/roles"))["roles"]
    sales_role = next(r["name"] for r in roles if r["display_name"] == "Sales")
    email = f"{uuid4()}@crm.test"
    user = {"email": email, "display_name": "Sam", "roles": [sales_role]}
    await crm.admin.post("/v1/users", {**user, "password": "a long enough phrase"})
    sam = await crm.sign_in(email, "a long enough phrase")

    async def known() -> bool:
        return (await sam.http.get("/v1/accounts")).status_code == httpx.codes.OK

    await eventually(known)
    foreign, _ = await won_opportunity(crm.admin)
    assert (await sam.http.get(f"/v1/{foreign}")).status_code == httpx.codes.NOT_FOUND
    assert (await sam.http.get("/v1/users")).status_code in {200, 403}
    own = await sam.post("/v1/accounts", {"display_name": "Mine"})
    assert [a["name"] for a in (await sam.get("/v1/accounts"))["accounts"]] == [own["name"]]


async def test_ending_a_session_ends_its_token_everywhere(crm: RunningSystem) -> None:
    """Edge identity.session.revoked → all: the token is refused within seconds."""
    roles = (await crm.admin.get("/v1/roles"))["roles"]
    role = next(r["name"] for r in roles if r["display_name"] == "Read-only")
    email = f"{uuid4()}@crm.test"
    body = {
        "email": email,
        "display_name": "Kim",
        "roles": [role],
        "password": "a long enough phrase",
    }
    await crm.admin.post("/v1/users", body)
    kim = await crm.sign_in(email, "a long enough phrase")

    async def status() -> int:
        return (await kim.http.get("/v1/accounts")).status_code

    async def accepted() -> bool:
        return await status() == httpx.codes.OK

    async def refused() -> bool:
        return await status() == httpx.codes.UNAUTHORIZED

    await eventually(accepted)
    await kim.http.delete("/v1/sessions:current")
    await eventually(refused)


async def test_a_campaign_is_planned_and_started(crm: RunningSystem) -> None:
    """Marketing answers through the gateway with its own rules."""
    campaign = await crm.admin.post(
        "/v1/campaigns", {"display_name": "Spring", "start_time": "2027-03-01T00:00:00Z"}
    )
    scheduled = await crm.admin.post(f"/v1/{campaign['name']}:schedule")
    assert scheduled["state"] == "SCHEDULED"
    refused = await crm.admin.http.post(f"/v1/{campaign['name']}:complete", json={})
    assert refused.status_code == httpx.codes.BAD_REQUEST
    assert refused.json()["details"][0]["reason"] == "ILLEGAL_TRANSITION"


async def test_a_foreign_or_unknown_reference_names_its_field(crm: RunningSystem) -> None:
    """A reference across services is checked before anything is stored."""
    answer = await crm.admin.http.post(
        "/v1/opportunities", json={"display_name": "X", "account": f"accounts/{uuid4()}"}
    )
    assert answer.status_code == httpx.codes.NOT_FOUND
    details = {d["@type"].rsplit(".", 1)[1]: d for d in answer.json()["details"]}
    assert details["ErrorInfo"]["reason"] == "REFERENCE_NOT_FOUND"
    assert details["BadRequest"]["field_violations"][0]["field"] == "opportunity.account"


async def test_a_rebuild_gives_the_same_facts(crm: RunningSystem) -> None:
    """INVARIANT: any read model equals a fresh rebuild, hash for hash."""
    account, _ = await won_opportunity(crm.admin)

    async def reported() -> bool:
        return await metric(crm.admin, "won_amount", account, currency_code="EUR") is not None

    await eventually(reported)
    before = await crm.admin.get("/v1/reporting/projection", hash_facts=True)
    await crm.admin.post("/v1/reporting/projection:rebuild")

    async def rebuilt() -> Any:
        status = await crm.admin.get("/v1/reporting/projection", hash_facts=True)
        return status if status["state"] == "LIVE" and status.get("rebuild_time") else None

    after = await eventually(rebuilt, timeout=30)
    assert after["facts_hash"] == before["facts_hash"]
