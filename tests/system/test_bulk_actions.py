"""Bulk actions through the gateway, as a front end uses them."""

from typing import Any
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import Client, RunningSystem

RUNS = "/v1/customer/bulkActions"


async def ended(client: Client, run: Any) -> Any:
    async def look() -> Any:
        found = await client.get(f"/v1/customer/{run['name']}")
        return found if "end_time" in found else None

    return await eventually(look)


async def test_a_bulk_action_is_previewed_run_and_taken_back(crm: RunningSystem) -> None:
    """Accounts get another owner and industry; one changes afterwards and is left alone by the revert."""
    industry = f"i{uuid4().hex}"
    body = {"display_name": f"Acme {uuid4()}", "industry": industry}
    made = [await crm.admin.post("/v1/accounts", body) for _ in range(3)]
    action = {
        "resource": "accounts",
        "action": "UPDATE",
        "filter": f'industry = "{industry}"',
        "values": {"labels": {"checked": "yes"}},
    }
    shown = await crm.admin.post(RUNS, action, validate_only="true")
    assert (shown["name"], shown["total_rows"], len(shown["samples"])) == ("", "3", 3)
    assert shown["samples"][0]["changes"][0]["new_value"] == {"checked": "yes"}
    run = await ended(crm.admin, await crm.admin.post(RUNS, action))
    assert (run["state"], run["changed_count"], run["failed_count"]) == ("SUCCEEDED", "3", "0")
    await crm.admin.patch(f"/v1/{made[1]['name']}", {"tax_id": "DE 1"})
    back = await crm.admin.post(f"/v1/customer/{run['name']}:revert")
    back = await ended(crm.admin, back)
    assert (back["changed_count"], back["failed_count"]) == ("2", "1")
    issues = await crm.admin.get(f"/v1/customer/{back['name']}/issues")
    assert [(i["record"], i["reason"]) for i in issues["issues"]] == [
        (made[1]["name"], "CHANGED_SINCE")
    ]
    labels = [(await crm.admin.get(f"/v1/{a['name']}"))["labels"] for a in made]
    assert labels == [{}, {"checked": "yes"}, {}]
    listed = await crm.admin.get(RUNS)
    assert [r["name"] for r in listed["bulk_actions"][:2]] == [back["name"], run["name"]]
    refused = await crm.admin.http.post(RUNS, json={**action, "values": {"colour": "red"}})
    assert refused.status_code == httpx.codes.BAD_REQUEST
    (bad,) = (d for d in refused.json()["details"] if "field_violations" in d)
    assert [v["field"] for v in bad["field_violations"]] == ["bulk_action.values.colour"]
