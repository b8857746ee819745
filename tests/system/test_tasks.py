"""Tasks as a front end meets them: over REST, through the gateway."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import RunningSystem


async def test_somebody_is_given_a_task_reminded_of_it_and_does_it(crm: RunningSystem) -> None:
    """Edges sales.opportunity.* → customer and customer.* → workspace: from one to the other and back."""
    user, ben = await crm.person("Sales")
    opportunity = await crm.admin.post("/v1/opportunities", {"display_name": f"O {uuid4()}"})
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    tomorrow = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    task = await crm.admin.post(
        "/v1/tasks",
        {
            "title": "Call them", "owner": user, "related": [opportunity["name"]],
            "due_time": tomorrow, "remind_time": soon, "recurrence": "FREQ=WEEKLY;BYDAY=MO,TH",
        },
    )  # fmt: skip

    async def told(kind: str) -> bool:
        listed = await ben.get("/v1/notifications", filter=f"kind = {kind}")
        return [n["subject"] for n in listed.get("notifications", [])] == [task["name"]]

    for kind in ("ASSIGNED", "TASK_REMINDER"):
        await eventually(lambda kind=kind: told(kind))
    await ben.post(f"/v1/{task['name']}:start")
    done = await ben.post(f"/v1/{task['name']}:complete")
    assert (done["state"], done["closer"]) == ("DONE", user)
    listed = await ben.get(
        "/v1/tasks", filter=f'state = OPEN AND related:"{opportunity["name"]}"', order_by="due_time"
    )
    (following,) = listed["tasks"]
    assert (following["name"], following["title"]) == (done["next_task"], "Call them")
    refused = await ben.http.post(f"/v1/{task['name']}:start", json={})
    assert (refused.status_code, "ILLEGAL_TRANSITION" in refused.text) == (400, True)
    bad = {"title": "x", "related": ["users/1"]}
    refused = await ben.http.post("/v1/tasks", json=bad)
    assert (refused.status_code, "task.related" in refused.text) == (
        httpx.codes.BAD_REQUEST, True,
    )  # fmt: skip
    await ben.http.aclose()


async def test_an_appointment_is_answered_held_and_part_of_the_day(crm: RunningSystem) -> None:
    """Edge customer.appointment.reminded → workspace; from the invitation to both people's work logs."""
    user, ben = await crm.person("Sales")
    account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    now = datetime.now(UTC)
    soon = now + timedelta(minutes=5, seconds=2)
    visit = {
        "title": "Visit", "kind": "VISIT", "attendees": [{"user": user}, {"address": "jo@acme.example"}],
        "related": [account["name"]], "start_time": soon.isoformat(), "reminder_minutes": [5],
        "end_time": (soon + timedelta(hours=1)).isoformat(),
    }  # fmt: skip
    planned = await crm.admin.post("/v1/appointments", visit)
    answered = await ben.post(f"/v1/{planned['name']}:reply", {"reply": "ACCEPTED"})
    assert answered["attendees"][0]["reply"] == "ACCEPTED"
    busy = await crm.admin.get(
        "/v1/appointments:freeBusy",
        users=user,
        start_time=now.isoformat(),
        end_time=(now + timedelta(days=1)).isoformat(),
    )
    assert [time["user"] for time in busy["busy_times"]] == [user]

    async def reminded() -> bool:
        listed = await ben.get("/v1/notifications", filter="kind = APPOINTMENT_REMINDER")
        return [n["subject"] for n in listed.get("notifications", [])] == [planned["name"]]

    await eventually(reminded)
    held = await crm.admin.post(f"/v1/{planned['name']}:hold", {"body": "They want 100"})
    told = await crm.admin.get(f"/v1/{held['interaction']}")
    assert (told["kind"], told["body"]) == ("VISIT", "They want 100")
    found = await crm.admin.get("/v1/interactions", filter=f'related:"{account["name"]}"')
    assert [i["name"] for i in found["interactions"]] == [told["name"]]
    corrected = await crm.admin.post(
        f"/v1/{told['name']}:correct", {"interaction": {"body": "They want 1000"}}
    )
    assert (corrected["body"], corrected["subject"]) == ("They want 1000", "Visit")
    day = {f"date.{part}": getattr(soon, part) for part in ("year", "month", "day")}
    log = await ben.get("/v1/workLog", period="WEEK", **day)
    assert [(e["kind"], e["record"]) for e in log["entries"]] == [
        ("APPOINTMENT_HELD", planned["name"])
    ]
    await ben.http.aclose()
