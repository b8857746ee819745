"""A customer on one page, over REST: what sales, support and customer did, as each reader may see it."""

from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import Client, RunningSystem


async def shown(client: Client, account: str, *kinds: str) -> dict[str, Any]:
    """The page of an account, once its timeline has these entries, the latest first."""

    async def there() -> dict[str, Any] | None:
        view: dict[str, Any] = await client.get(f"/v1/{account}:view")
        return view if [e["kind"] for e in view.get("entries", [])] == list(kinds) else None

    found = await eventually(there)
    assert found is not None
    return found


async def test_a_customer_is_seen_on_one_page(crm: RunningSystem) -> None:
    """Edges sales.opportunity.*, support.ticket.* and customer.* → customer: timeline, figures, freshness."""
    user, ben = await crm.person("Sales")
    account = await crm.admin.post("/v1/accounts", {"display_name": f"A {uuid4()}", "owner": user})
    name = account["name"]
    contact = await crm.admin.post("/v1/contacts", {"display_name": "张三", "account": name})
    deal = await crm.admin.post(
        "/v1/opportunities",
        {
            "display_name": "Ten licences", "account": name, "owner": user,
            "amount": {"units": "1200", "currency_code": "EUR"},
        },
    )  # fmt: skip
    await shown(crm.admin, name, "OPPORTUNITY_CREATED")
    await crm.admin.post("/v1/tickets", {"subject": "It leaks", "contact": contact["name"]})
    await shown(crm.admin, name, "TICKET_CREATED", "OPPORTUNITY_CREATED")
    call = {
        "kind": "CALL", "subject": "Price", "participants": [contact["name"]], "owner": user,
        "occur_time": datetime.now(UTC).isoformat(),
    }  # fmt: skip
    call = await crm.admin.post("/v1/interactions", call)
    await shown(crm.admin, name, "INTERACTION", "TICKET_CREATED", "OPPORTUNITY_CREATED")
    await crm.admin.post(f"/v1/{deal['name']}:win")
    happened = ("INTERACTION", "TICKET_CREATED", "OPPORTUNITY_CREATED")

    async def bought() -> dict[str, Any] | None:
        view: dict[str, Any] = await crm.admin.get(f"/v1/{name}:view")
        kinds = [e["kind"] for e in view["entries"]]
        done = kinds[2:] == list(happened) and set(kinds[:2]) == {"ACCOUNT_WON", "OPPORTUNITY_WON"}
        return view if done and view["account"]["state"] == "CUSTOMER" else None

    view = await eventually(bought)
    assert view is not None
    (amount,) = view["sales"]["won_amounts"]
    assert (amount["units"], amount["currency_code"]) == ("1200", "EUR")
    assert view["support"]["open_count"] == 1
    assert view["last_touch"]["record"] == call["name"]
    assert [p["display_name"] for p in view["people"]] == ["张三"]
    assert {s["source"] for s in view["sources"]} == {"customer", "sales", "support"}
    # A seller has no right in support, and sees what is theirs.
    theirs = await ben.get(f"/v1/{name}/timeline", filter="NOT kind = ACCOUNT_WON")
    kinds = [e["kind"] for e in theirs["entries"]]
    assert kinds == ["OPPORTUNITY_WON", "INTERACTION", "OPPORTUNITY_CREATED"]
    assert "support" not in await ben.get(f"/v1/{name}:view")
    foreign = await ben.http.get(f"/v1/{contact['name']}:view")
    assert foreign.status_code == httpx.codes.NOT_FOUND
    page = await crm.admin.get(f"/v1/{contact['name']}/timeline", page_size=1)
    assert [e["kind"] for e in page["entries"]] == ["INTERACTION"]
    rest = await crm.admin.get(
        f"/v1/{contact['name']}/timeline", page_size=1, page_token=page["next_page_token"]
    )
    assert [e["kind"] for e in rest["entries"]] == ["TICKET_CREATED"]
    refused = await crm.admin.http.get(f"/v1/{name}/timeline", params={"filter": "kind = NONSENSE"})
    assert (refused.status_code, "INVALID_FILTER" in refused.text) == (400, True)
    await ben.http.aclose()
