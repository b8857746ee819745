"""The workspace service as a front end meets it: over REST, through the gateway."""

import asyncio
import json
from datetime import timedelta
from functools import partial
from uuid import uuid4

import httpx

from crmkit.clock import now
from crmkit.testing import eventually

from .conftest import Client, RunningSystem


async def test_a_view_is_saved_chosen_and_refused(crm: RunningSystem) -> None:
    """INVARIANT: attack rows 2 and 51: what a filter cannot be is a 400 naming the field."""
    view = await crm.admin.post(
        "/v1/savedViews",
        {
            "resource": "opportunities",
            "display_name": "Large ones",
            "filter": "amount > 10000 AND state = OPEN",
            "layout": "BOARD",
        },
    )
    assert (view["layout"], view["visibility"]) == ("BOARD", "PRIVATE")
    assert (await crm.admin.post(f"/v1/{view['name']}:choose"))["default_for_caller"] is True
    listed = await crm.admin.get("/v1/savedViews", filter='resource = "opportunities"')
    assert view["name"] in [v["name"] for v in listed["saved_views"]]
    for attack in ("OR 1=1)--", "!!python/object:x {}", "(" * 1000, "password_hash = 1"):
        body = {"resource": "opportunities", "display_name": "x", "filter": attack}
        refused = await crm.admin.http.post("/v1/savedViews", json=body)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert "saved_view.filter" in refused.text


async def test_a_change_reaches_a_webhook(crm: RunningSystem) -> None:
    """Edge customer.* → workspace: webhooks. From a REST call to the receiver, and in the log."""
    heard: list[bytes] = []

    async def receive(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        heard.append(await reader.readexactly(length))
        writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
        await writer.drain()
        writer.close()

    async with await asyncio.start_server(receive, "127.0.0.1", 0) as server:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        body = {"display_name": "ERP", "url": url, "event_types": ["customer.account.*"]}
        webhook = await crm.admin.post("/v1/webhooks", body)
        assert webhook["secret"].startswith("whsec_")
        account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})

        async def delivered() -> bool:
            log = await crm.admin.get(f"/v1/{webhook['name']}/deliveries")
            return [d["state"] for d in log.get("deliveries", [])] == ["DELIVERED"]

        await eventually(delivered)
    await crm.admin.post(f"/v1/{webhook['name']}:pause")
    (sent,) = [json.loads(body) for body in heard]
    assert (sent["type"], sent["subject"]) == ("customer.account.created", account["name"])


async def test_a_webhook_into_our_own_network_is_refused(crm: RunningSystem) -> None:
    """Attack row 42 over REST."""
    for url in ("https://169.254.169.254/", "https://[::ffff:127.0.0.1]/", "http://a@127.0.0.1/"):
        body = {"display_name": "x", "url": url, "event_types": ["*"]}
        refused = await crm.admin.http.post("/v1/webhooks", json=body)
        assert refused.status_code == httpx.codes.BAD_REQUEST
        assert "webhook.url" in refused.text


async def test_a_person_is_told_live_of_a_record_made_theirs(crm: RunningSystem) -> None:
    """From one person's change to the other's stream of server-sent events."""
    user, ben = await crm.person("Read-only")
    account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    async with ben.http.stream("GET", "/v1/notifications:stream") as stream:
        assert stream.headers["content-type"] == "text/event-stream"
        changed = await crm.admin.patch(f"/v1/{account['name']}", {"owner": user})
        async with asyncio.timeout(10):
            lines = (line async for line in stream.aiter_lines() if line.startswith("data:"))
            told = json.loads((await anext(lines)).removeprefix("data:"))["notification"]
    assert (told["kind"], told["subject"]) == ("ASSIGNED", changed["name"])
    assert (await ben.get("/v1/notifications:countUnread"))["unread_count"] == 1
    await ben.post("/v1/notifications:markAllRead")
    assert (await ben.get("/v1/notifications:countUnread"))["unread_count"] == 0
    await ben.http.aclose()


async def test_a_deputy_hears_of_what_becomes_somebodys_who_is_away(crm: RunningSystem) -> None:
    """From an absence in identity to the deputy's notifications in workspace, marked as another's."""
    roles = (await crm.admin.get("/v1/roles"))["roles"]
    role = next(r["name"] for r in roles if r["display_name"] == "Read-only")
    password = "correct horse battery staple"
    users = []
    for name in ("Ada", "Ben"):
        body = {"email": f"{uuid4()}@crm.test", "display_name": name, "password": password}
        users.append(await crm.admin.post("/v1/users", {**body, "roles": [role]}))
    ada, ben = [await crm.sign_in(user["email"], password) for user in users]
    absence = {"end_time": "2099-01-01T00:00:00Z", "deputy": users[1]["name"]}
    refused = await ada.http.post(f"/v1/{users[0]['name']}:setAbsence", json={"absence": absence})
    assert refused.status_code == httpx.codes.BAD_REQUEST
    assert "absence.end_time" in refused.text
    absence["end_time"] = (now() + timedelta(days=9)).isoformat()
    await ada.post(f"/v1/{users[0]['name']}:setAbsence", {"absence": absence})

    async def told() -> list[dict[str, str]]:  # until the absence was heard of from identity
        account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
        await crm.admin.patch(f"/v1/{account['name']}", {"owner": users[0]["name"]})
        found = await ben.get("/v1/notifications", filter="kind = ASSIGNED")
        return found.get("notifications", [])  # type: ignore[no-any-return]

    (first, *_) = await eventually(told)
    assert (first["deputy_for"], first["owner"]) == (users[0]["name"], users[1]["name"])
    for client in (ada, ben):
        await client.http.aclose()


async def test_a_rule_does_its_part_in_other_services(crm: RunningSystem) -> None:
    """From a won opportunity to a changed record, a ticket and a notification, each once and as the owner."""
    mark = f"Welcome {uuid4()}"
    rule = await crm.admin.post(
        "/v1/rules",
        {
            "display_name": "After a win",
            "event_types": ["sales.opportunity.won"],
            "condition": "record.display_name.startsWith('Rule ')",
            "actions": [
                {"set_fields": {"values": {"next_step": "Say thanks"}}},
                {"create_record": {"resource": "tickets", "values": {"subject": mark}}},
                {"notify": {"recipient": "RECORD_OWNER", "text": "{{record.display_name}} is won"}},
            ],
        },
    )
    name = f"Rule {uuid4()}"
    opportunity = await crm.admin.post("/v1/opportunities", {"display_name": name})
    await crm.admin.post(f"/v1/{opportunity['name']}:win")

    async def done() -> bool:
        log = await crm.admin.get(f"/v1/{rule['name']}/runs", filter="state = SUCCEEDED")
        return len(log.get("runs", [])) == 1

    await eventually(done)
    (run,) = (await crm.admin.get(f"/v1/{rule['name']}/runs"))["runs"]
    changed, made, told = [step["outcome"] for step in run["steps"]]
    assert (await crm.admin.get(f"/v1/{changed}"))["next_step"] == "Say thanks"
    assert (await crm.admin.get(f"/v1/{made}"))["owner"] == rule["owner"]
    assert (await crm.admin.get(f"/v1/{told}"))["text"] == f"{name} is won"
    history = (await crm.admin.get(f"/v1/{changed}/revisions"))["revisions"]
    assert (history[0]["actor"], history[0]["causation_id"]) == (rule["owner"], run["event_id"])
    attack = {"notify": {"recipient": "RULE_OWNER", "text": "{{ ''.__class__.__mro__ }}"}}
    bad = {"display_name": "x", "event_types": ["sales.*"], "actions": [attack]}
    refused = await crm.admin.http.post("/v1/rules:test", json={"rule": bad})
    assert refused.status_code == httpx.codes.BAD_REQUEST
    assert "rule.actions[0].notify.text" in refused.text
    await crm.admin.post(f"/v1/{rule['name']}:pause")


async def test_two_people_talk_about_a_record(crm: RunningSystem) -> None:
    """Edges sales.* and customer.* → workspace: one asks the other, who is told and answers."""
    user, ben = await crm.person("Marketing")
    record = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    comments = f"/v1/{record['name']}/comments"
    asked = await crm.admin.post(comments, {"text": f"@{user}, who calls <b>them</b>?"})
    assert asked["mentions"] == [user]

    async def told(client: Client, kind: str, subject: str) -> bool:
        listed = await client.get("/v1/notifications")
        wanted = {"kind": kind, "subject": subject}
        return any(wanted.items() <= n.items() for n in listed["notifications"])

    await eventually(partial(told, ben, "MENTIONED", asked["name"]))
    answer = await ben.post(comments, {"text": "I do.", "reply_to": asked["name"]})
    await eventually(partial(told, crm.admin, "COMMENTED", answer["name"]))
    assert [c["text"] for c in (await ben.get(comments))["comments"]] == [
        "I do.", f"@{user}, who calls <b>them</b>?",
    ]  # fmt: skip
    followers = await ben.get(f"/v1/{record['name']}/followers")
    assert (len(followers["followers"]), followers["following"]) == (2, True)
    await ben.post(f"/v1/{record['name']}:unfollow")
    reworded = await crm.admin.patch(f"/v1/{asked['name']}", {"text": "Who calls?"})
    assert reworded["text"] == "Who calls?"
    refused = await ben.http.delete(f"/v1/{asked['name']}")
    assert (refused.status_code, "NOT_THE_AUTHOR" in refused.text) == (403, True)
    assert (await crm.admin.http.delete(f"/v1/{asked['name']}")).status_code == httpx.codes.OK
    assert [c["name"] for c in (await ben.get(comments))["comments"]] == [answer["name"]]
    await ben.http.aclose()
