"""Customer pools as a front end meets them: over REST, through the gateway, with the built-in roles."""

from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import RunningSystem


async def test_an_account_is_released_seen_claimed_and_told_of(crm: RunningSystem) -> None:
    """Edges customer.account.pooled → workspace and identity.team.* → customer: from one to another."""
    team = await crm.admin.post("/v1/teams", {"display_name": f"East {uuid4()}"})
    (user, ben), (other, eve), (_, boss) = [
        await crm.person(role) for role in ("Sales", "Sales", "Manager")
    ]
    await crm.admin.patch(f"/v1/{other}", {"team": team["name"]})
    wanted = {"display_name": f"East {uuid4()}", "teams": [team["name"]], "claim_limit": 1}

    async def made() -> httpx.Response | None:
        answer = await boss.http.post("/v1/customerPools", json=wanted)
        return answer if answer.status_code == httpx.codes.OK else None

    pool = (await eventually(made)).json()  # once customer has heard of the team
    refused = await ben.http.post("/v1/customerPools", json={"display_name": "Mine"})
    assert refused.status_code == httpx.codes.FORBIDDEN
    account = await crm.admin.post("/v1/accounts", {"display_name": f"A {uuid4()}", "owner": user})
    path = f"/v1/{account['name']}"
    assert (await eve.http.get(path)).status_code == httpx.codes.NOT_FOUND
    await crm.admin.post(f"{path}:releaseToPool", {"pool": pool["name"]})

    async def told() -> bool:
        listed = await ben.get("/v1/notifications", filter="kind = POOLED")
        return [n["subject"] for n in listed.get("notifications", [])] == [account["name"]]

    await eventually(told)

    async def seen() -> bool:
        listed = await eve.get("/v1/accounts", filter=f'pool = "{pool["name"]}"')
        return [a["name"] for a in listed.get("accounts", [])] == [account["name"]]

    await eventually(seen)  # once customer has heard where Eve works
    assert (await ben.http.get(path)).status_code == httpx.codes.NOT_FOUND
    claimed = await eve.post(f"{path}:claim")
    assert (claimed["owner"], claimed["claim_pool"]) == (other, pool["name"])
    late = await crm.admin.http.post(f"{path}:claim", json={})
    assert (late.status_code, "ILLEGAL_TRANSITION" in late.text) == (400, True)
    second = await crm.admin.post("/v1/accounts", {"display_name": f"B {uuid4()}"})
    await crm.admin.post(f"/v1/{second['name']}:releaseToPool", {"pool": pool["name"]})
    beyond = await eve.http.post(f"/v1/{second['name']}:claim", json={})
    assert (beyond.status_code, "CLAIM_LIMIT_REACHED" in beyond.text) == (400, True)
    for client in (ben, eve, boss):
        await client.http.aclose()
