"""Bulk actions through the gateway, as a front end and the command line use them."""

import asyncio
import os
import sys
from typing import Any
from uuid import uuid4

import httpx

from crmkit.testing import eventually

from .conftest import ADMIN, Client, RunningSystem

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


async def crm_bulk(crm: RunningSystem, *arguments: str) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of `crm bulk`."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")} | {
        "CRM_URL": crm.system.url,
        "CRM_EMAIL": ADMIN["email"],
        "CRM_PASSWORD": ADMIN["password"],
        "no_proxy": "*",
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "crm_cli", "bulk", *arguments, env=environment,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await asyncio.wait_for(process.communicate(), 30)
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


async def test_crm_bulk_shows_asks_changes_and_takes_back(crm: RunningSystem) -> None:
    """INVARIANT: nothing happens unasked; the exit code says whether every record was dealt with."""
    industry = f"i{uuid4().hex}"
    made = [
        await crm.admin.post("/v1/accounts", {"display_name": f"A {uuid4()}", "industry": industry})
        for _ in range(2)
    ]
    chosen = ("accounts", "--filter", f'industry = "{industry}"')
    wanted = ("update", *chosen, "--set", "founded_year=1999", "--set", "tax_id=DE 7")
    code, _, errors = await crm_bulk(crm, *wanted)
    assert (code, "2 accounts" in errors, "--yes" in errors) == (2, True, True)
    assert "founded_year" not in await crm.admin.get(f"/v1/{made[0]['name']}")
    code, output, _ = await crm_bulk(crm, *wanted, "--yes")
    assert (code, "SUCCEEDED, 2 changed, 0 unchanged, 0 failed" in output) == (0, True)
    after = await crm.admin.get(f"/v1/{made[0]['name']}")
    assert (after["founded_year"], after["tax_id"]) == (1999, "DE 7")
    await crm.admin.patch(f"/v1/{made[1]['name']}", {"founded_year": 2000})
    name = output.partition(":")[0]
    code, output, _ = await crm_bulk(crm, "revert", "accounts", name)
    assert (code, "1 changed" in output, "CHANGED_SINCE" in output) == (3, True, True)
    code, output, _ = await crm_bulk(crm, "update", *chosen, "--clear", "founded_year", "--yes")
    assert (code, "1 changed, 1 unchanged" in output) == (0, True)
    code, output, _ = await crm_bulk(crm, "delete", *chosen, "--yes")
    assert (code, "2 changed" in output) == (0, True)
    code, output, _ = await crm_bulk(crm, "undelete", *chosen, "--yes")
    assert (code, "2 changed" in output) == (0, True)
    for arguments, expected in (
        (("update", "elephants", "--filter", "a = 1", "--yes"), 2),
        (("update", *chosen, "--set", "industry", "--yes"), 2),
        (("update", *chosen, "--set", "colour=red", "--yes"), 1),
        (("delete", "accounts", "--filter", "", "--yes"), 1),
    ):
        code, output, errors = await crm_bulk(crm, *arguments)
        assert (code, output, errors.startswith("crm bulk: ")) == (expected, "", True)
