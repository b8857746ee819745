"""Somebody leaves: their records go to a successor in every service, and nothing acts in their name."""

from typing import Any
from uuid import uuid4

from crmkit.testing import eventually

from .conftest import Client, RunningSystem

PASSWORD = "a long enough secret"


async def colleague(crm: RunningSystem, mark: str) -> tuple[Any, Client]:
    """A manager, signed in."""
    roles = await crm.admin.get("/v1/roles", filter='display_name = "Administrator"')
    body = {
        "email": f"{uuid4()}@crm.test", "display_name": mark, "password": PASSWORD,
        "roles": [roles["roles"][0]["name"]],
    }  # fmt: skip
    user = await crm.admin.post("/v1/users", body)
    client = await crm.sign_in(user["email"], PASSWORD)

    async def known() -> bool:
        paths = ("accounts", "opportunities", "campaigns", "tickets", "savedViews")
        answers = [await client.http.get(f"/v1/{path}") for path in paths]
        return all(answer.status_code == 200 for answer in answers)

    await eventually(known)
    return user, client


async def test_who_leaves_hands_over_and_nothing_acts_for_them(crm: RunningSystem) -> None:
    """INVARIANT: all records of all services, once; the rest stays with who has left, and stands still."""
    ada, as_ada = await colleague(crm, "Ada")
    bob, as_bob = await colleague(crm, "Bob")
    account = await as_ada.post("/v1/accounts", {"display_name": "Acme"})
    made = [
        account,
        await as_ada.post("/v1/contacts", {"display_name": "Grace", "account": account["name"]}),
        await as_ada.post("/v1/tasks", {"title": "Call", "related": [account["name"]]}),
        await as_ada.post("/v1/interactions", {"kind": "CALL", "related": [account["name"]]}),
        await as_ada.post("/v1/opportunities", {"display_name": "D", "account": account["name"]}),
        await as_ada.post("/v1/tickets", {"subject": "T"}),
        await as_ada.post("/v1/campaigns", {"display_name": "C"}),
        await as_ada.post(
            "/v1/savedViews",
            {"resource": "tickets", "display_name": "All", "visibility": "PUBLIC"},
        ),
    ]
    private = await as_ada.post("/v1/savedViews", {"resource": "tickets", "display_name": "Mine"})
    hook = {"display_name": "H", "url": "http://127.0.0.1:9/x", "event_types": ["support.*"]}
    webhook = await as_ada.post("/v1/webhooks", hook)
    await crm.admin.post(f"/v1/{ada['name']}:deactivate", {"successor": bob["name"]})

    async def ended() -> Any:
        listed = await crm.admin.get("/v1/handovers", filter=f'user = "{ada["name"]}"')
        return listed["handovers"][0] if listed["handovers"][0]["state"] != "RUNNING" else None

    handover = await eventually(ended)
    assert handover["state"] == "SUCCEEDED", handover
    moved = {p["service"]: int(p.get("moved_count", 0)) for p in handover["parts"]}
    assert moved == {
        "customer": 4, "identity": 0, "marketing": 1, "sales": 1, "support": 1, "workspace": 1,
    }  # fmt: skip
    for record in made:
        now = await as_bob.get(f"/v1/{record['name']}")
        assert now["owner"] == bob["name"]
        history = await as_bob.get(f"/v1/{record['name']}/revisions")
        (change,) = history["revisions"][0]["changes"]
        assert (change["field"], change["new_value"]) == ("owner", bob["name"])
    admin = await crm.admin.get("/v1/users:current")
    assert history["revisions"][0]["actor"] == admin["name"]

    async def paused() -> bool:
        now = await crm.admin.get(f"/v1/{webhook['name']}")
        return (now["state"], now.get("pause_reason")) == ("PAUSED", "OWNER_LEFT")

    await eventually(paused)
    hidden = await as_bob.http.get(f"/v1/{private['name']}")
    assert hidden.status_code == 404
    told = await as_bob.get("/v1/notifications", filter="kind = ASSIGNED")
    assert not told.get("notifications")


async def test_a_team_that_ends_hands_over_in_every_service(crm: RunningSystem) -> None:
    """INVARIANT: what its people have stays theirs, and whoever works in the other team sees it."""
    east, west = [
        await crm.admin.post("/v1/teams", {"display_name": f"T {uuid4()}"}) for _ in range(2)
    ]
    ada, as_ada = await colleague(crm, "Ada")
    await crm.admin.patch(f"/v1/{ada['name']}", {"team": east["name"]})

    async def of_the_team(path: str, body: dict[str, str]) -> Any:
        made = await as_ada.post(path, body)
        return made if made.get("team") == east["name"] else None

    records = (
        ("/v1/accounts", {"display_name": "Acme"}),
        ("/v1/opportunities", {"display_name": "D"}),
        ("/v1/tickets", {"subject": "T"}),
        ("/v1/campaigns", {"display_name": "C"}),
    )
    made = [await eventually(lambda r=record: of_the_team(*r)) for record in records]
    body = {"former_team": east["name"], "successor_team": west["name"]}
    begun = await crm.admin.post("/v1/handovers", body)

    async def ended() -> Any:
        found = await crm.admin.get(f"/v1/{begun['name']}")
        return found if found["state"] != "RUNNING" else None

    handover = await eventually(ended)
    assert handover["state"] == "SUCCEEDED", handover
    moved = {p["service"]: int(p.get("moved_count", 0)) for p in handover["parts"]}
    assert moved == {
        "customer": 1, "identity": 0, "marketing": 1, "sales": 1, "support": 1, "workspace": 0,
    }  # fmt: skip
    for record in made:
        now = await crm.admin.get(f"/v1/{record['name']}")
        assert (now["owner"], now["team"]) == (ada["name"], west["name"])
    user = await crm.admin.get(f"/v1/{ada['name']}")
    assert user["team"] == east["name"]  # people are moved by whoever decides on them
    await as_ada.http.aclose()
