"""`crm demo` and `crm export` as an operator types them, against the whole system."""

import asyncio
import csv
import io
import os
import subprocess
import sys
from collections import Counter
from datetime import date

import pytest

from crm_cli.demo.company import Company, Size
from crmkit.testing import eventually

from .conftest import ADMIN, RunningSystem

STAGES = ["Prospecting", "Engaging", "Proposal", "Negotiation"]


async def crm_command(crm: RunningSystem, *words: str) -> subprocess.CompletedProcess[str]:
    """Runs `crm` as a process of its own, signed in as the administrator."""
    environment = {
        **os.environ,
        "CRM_URL": crm.system.url,
        "CRM_EMAIL": ADMIN["email"],
        "CRM_PASSWORD": ADMIN["password"],
    }
    return await asyncio.to_thread(
        subprocess.run,
        [sys.executable, "-m", "crm_cli", *words],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


async def test_the_demo_company_fills_every_service_and_a_second_run_adds_nothing(
    crm: RunningSystem,
) -> None:
    """INVARIANT: a first run makes everything, a second leaves all of it as it is."""
    first = await crm_command(crm, "demo", "--seed", "7")
    assert first.returncode == 0, first.stderr
    assert "opportunities: 260 created\n" in first.stdout
    found = {}
    collections = (
        "users", "accounts", "contacts", "opportunities", "tickets", "campaigns", "interactions",
        "tasks",
    )  # fmt: skip
    for collection in collections:
        records = (
            await crm.admin.get(
                f"/v1/{collection}", filter='external_id = "demo-7-*"', page_size=1000
            )
        )[collection]
        found[collection] = {record["name"]: record["etag"] for record in records}
        assert found[collection]
    states = Counter(
        record["state"]
        for record in (
            await crm.admin.get(
                "/v1/opportunities", filter='external_id = "demo-7-*"', page_size=1000
            )
        )["opportunities"]
    )
    assert min(states["WON"], states["LOST"], states["OPEN"]) > 20
    second = await crm_command(crm, "demo", "--seed", "7")
    assert second.returncode == 0, second.stderr
    assert "opportunities: 0 created, 260 there already\n" in second.stdout
    for collection in ("opportunities", "tickets"):
        records = (
            await crm.admin.get(
                f"/v1/{collection}", filter='external_id = "demo-7-*"', page_size=1000
            )
        )[collection]
        assert {r["name"]: r["etag"] for r in records} == found[collection]


async def test_the_reports_show_the_demo_companys_sales(crm: RunningSystem) -> None:
    """Edge import → reporting: what was won is counted in the months in which it was won."""
    assert (await crm_command(crm, "demo", "--seed", "7")).returncode == 0
    owner = (await crm.admin.get("/v1/users", filter='external_id = "demo-7-user-agent-asia-0"'))[
        "users"
    ][0]["name"]
    won = (
        await crm.admin.get(
            "/v1/opportunities", filter=f'owner = "{owner}" AND state = WON', page_size=1000
        )
    )["opportunities"]

    async def reported() -> bool:
        body = {"metrics": ["opportunities_won"], "group_by": ["owner"]}
        rows = (await crm.admin.post("/v1/metrics:query", body))["rows"]
        counts = {row["dimensions"]["owner"]: row["values"] for row in rows}
        return int(counts.get(owner, {}).get("opportunities_won", 0)) == len(won)

    assert won
    await eventually(reported, timeout=30)


async def test_an_export_comes_through_the_gateway_as_a_file(crm: RunningSystem) -> None:
    """INVARIANT: the file arrives whole, named, as CSV, and holds every record asked for."""
    assert (await crm_command(crm, "demo", "--seed", "7")).returncode == 0
    words = ("export", "accounts", "--filter", 'external_id = "demo-7-*"', "--output", "-")
    answer = await crm_command(crm, *words, "--fields", "external_id,display_name,owner")
    assert answer.returncode == 0, answer.stderr
    rows = list(csv.DictReader(io.StringIO(answer.stdout)))
    assert len({row["external_id"] for row in rows}) == len(rows) == 60
    run = (await crm.admin.get("/v1/customer/exports", page_size=1))["exports"][0]
    response = await crm.admin.http.get(f"/v1/customer/{run['name']}:download")
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    assert 'filename="accounts-' in response.headers["content-disposition"]
    assert len(response.content) == int(run["size_bytes"])
    refused = await crm_command(crm, "export", "accounts", "--filter", "nonsense = 1", "-o", "-")
    assert refused.returncode == 1
    assert "INVALID_FILTER" in refused.stderr
    assert not refused.stdout


@pytest.mark.parametrize("size", Size)
def test_the_same_seed_and_day_make_the_same_company(size: Size) -> None:
    """INVARIANT: a demo can be told of and repeated."""
    today = date(2026, 11, 24)
    one, same = Company(3, size, today, STAGES), Company(3, size, today, STAGES)
    assert one.rows == same.rows
    assert one.rows["accounts"] != Company(4, size, today, STAGES).rows["accounts"]
