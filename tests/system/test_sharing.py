"""A record shared between two people, over REST, through the gateway, across services."""

from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import RunningSystem


async def test_a_shared_account_is_read_referred_to_and_exported_until_it_is_not_shared(
    crm: RunningSystem,
) -> None:
    """INVARIANT: other services, notifications and exports say what the owning service says."""
    user, ben = await crm.person("Sales")
    title = f"Acme {uuid4()}"
    account = await crm.admin.post("/v1/accounts", {"display_name": title})
    path = f"/v1/{account['name']}"
    deal = {"display_name": "Ten machines", "account": account["name"]}

    async def statuses() -> list[int]:
        attempts = (
            ben.http.get(path),
            ben.http.post("/v1/opportunities", json=deal),
            ben.http.patch(path, json={"display_name": "Mine"}),
        )
        return [(await attempt).status_code for attempt in attempts]

    assert await statuses() == [404, 404, 404]
    shared = await crm.admin.post(f"{path}/collaborators", {"user": user, "access": "READ"})
    assert await statuses() == [200, 200, 403]
    assert [a["name"] for a in (await ben.get("/v1/accounts"))["accounts"]] == [account["name"]]

    async def told() -> bool:
        notifications = (await ben.get("/v1/notifications"))["notifications"]
        return [(n["kind"], n["subject"]) for n in notifications] == [("SHARED", account["name"])]

    await eventually(told)
    export = await ben.post("/v1/customer/exports", {"resource": "accounts"})

    async def done() -> bool:
        state = await ben.get(f"/v1/customer/{export['name']}")
        return bool(state["state"] == "SUCCEEDED" and state["total_rows"] == "1")

    await eventually(done)
    assert (await crm.admin.http.delete(f"/v1/{shared['name']}")).status_code == httpx.codes.OK
    assert await statuses() == [404, 404, 404]
    await ben.http.aclose()
