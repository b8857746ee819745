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
