"""Merged accounts and contacts, over REST, through the gateway, in every service that knows of them."""

from typing import Any
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import Client, RunningSystem


async def counted(client: Client, *accounts: str) -> dict[str, tuple[str, str]]:
    """Account → how many opportunities and tickets are open."""
    body = {"metrics": ["opportunities_open", "tickets_open"], "group_by": ["account"]}
    rows = (await client.post("/v1/metrics:query", body))["rows"]
    return {
        row["dimensions"]["account"]: (
            row["values"]["opportunities_open"],
            row["values"]["tickets_open"],
        )
        for row in rows
        if row["dimensions"]["account"] in accounts
    }


async def test_a_merge_is_followed_by_every_service_and_so_is_its_undoing(
    crm: RunningSystem,
) -> None:
    """Edges customer.account.* and customer.contact.*: merged, unmerged → sales, support, reporting."""
    admin = crm.admin

    async def made(path: str, **body: Any) -> Any:
        return await admin.post(path, body)

    kept, gone = [
        (await made("/v1/accounts", display_name=f"Acme {uuid4()}"))["name"] for _ in range(2)
    ]
    ada, twin = [
        (await made("/v1/contacts", display_name="Ada", account=gone))["name"] for _ in range(2)
    ]
    deal = await made("/v1/opportunities", display_name="Deal", account=gone)
    ticket = await made("/v1/tickets", subject="Help", account=gone, contact=twin)
    other = await made("/v1/tickets", subject="Help", account=kept, contact=ada)

    async def shown() -> list[str]:
        deal_now, ticket_now = [await admin.get(f"/v1/{r['name']}") for r in (deal, ticket)]
        same = {"etag": ticket_now["etag"], "update_time": ticket_now["update_time"]}
        assert same == {name: ticket[name] for name in same}  # nobody has changed it
        return [deal_now["account"], ticket_now["account"], ticket_now["contact"]]

    both = (kept, gone)
    await eventually(lambda: _is(counted(admin, *both), {kept: ("0", "1"), gone: ("1", "1")}))
    await admin.post(f"/v1/{kept}:merge", {"losers": [gone]})
    await admin.post(f"/v1/{ada}:merge", {"losers": [twin]})
    await eventually(lambda: _is(shown(), [kept, kept, ada]))
    await eventually(lambda: _is(counted(admin, *both), {kept: ("1", "2")}))
    # A new record that somebody names the old way belongs to the survivor, also after the undoing.
    later = await made("/v1/opportunities", display_name="Later", account=gone)
    assert later["account"] == kept
    await admin.post(f"/v1/{kept}:unmerge")
    await admin.post(f"/v1/{ada}:unmerge")
    await eventually(lambda: _is(shown(), [gone, gone, twin]))
    await eventually(lambda: _is(counted(admin, *both), {kept: ("1", "1"), gone: ("1", "1")}))
    assert (await admin.get(f"/v1/{later['name']}"))["account"] == kept
    assert (await admin.get(f"/v1/{other['name']}"))["contact"] == ada
    refused = await admin.http.post(f"/v1/{kept}:merge", json={"losers": [kept]})
    assert refused.status_code == httpx.codes.BAD_REQUEST


async def _is(found: Any, expected: Any) -> bool:
    return bool(await found == expected)
