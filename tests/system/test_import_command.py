"""`crm import` as a person types it, against the whole system."""

import asyncio
import os
import re
import signal
import sys
from pathlib import Path
from typing import Any
from uuid import uuid4

from crmkit.testing import eventually

from .conftest import ADMIN, RunningSystem


async def begun(crm: RunningSystem, *words: str) -> asyncio.subprocess.Process:
    """`crm` as a process of its own, signed in as the administrator."""
    environment = {
        **os.environ,
        "CRM_URL": crm.system.url,
        "CRM_EMAIL": ADMIN["email"],
        "CRM_PASSWORD": ADMIN["password"],
        "no_proxy": "*",
    }
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "crm_cli", *words),
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_an_import_that_nobody_watches_any_more_goes_on(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """INVARIANT: Ctrl-C ends the watching, not the import, and what is printed shows how it goes on."""
    mark = f"watched-{uuid4()}"
    file = tmp_path / "accounts.csv"
    rows = "".join(f"{mark}-{n},Watched {n}\n" for n in range(10_000))
    file.write_text(f"external_id,display_name\n{rows}")
    process = await begun(crm, "import", "accounts", str(file))

    async def running() -> Any:
        found = (await crm.admin.get("/v1/customer/imports", page_size=1)).get("imports", [])
        mine = [run for run in found if run["total_rows"] == "10000"]
        return mine[0] if mine and mine[0]["state"] == "RUNNING" else None

    run = await eventually(running)
    process.send_signal(signal.SIGINT)
    _, errors = await process.communicate()
    assert process.returncode not in {None, 0}
    said = errors.decode()
    assert "Traceback" not in said
    path = re.search(r"goes on by itself in the system: GET (\S+) shows how", said)
    assert path is not None, said
    assert path[1] == f"/v1/customer/{run['name']}"

    async def ended() -> Any:
        found = await crm.admin.get(path[1])
        return found if "end_time" in found else None

    outcome = await eventually(ended, timeout=60)
    assert outcome["state"] == "SUCCEEDED"
    assert outcome["created_count"] == "10000"


async def imported(crm: RunningSystem, *words: str) -> tuple[int | None, str, str]:
    return await run_command(crm, "import", *words)


async def run_command(crm: RunningSystem, *words: str) -> tuple[int | None, str, str]:
    process = await begun(crm, *words)
    output, errors = await process.communicate()
    return process.returncode, output.decode(), errors.decode()


async def test_a_file_of_another_system_is_tried_imported_mended_and_imported_again(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """INVARIANT: what is taken is said, a dry run changes nothing, and no row is lost on the way."""
    mark = f"m{uuid4().hex}"
    file, wrong = tmp_path / "people.csv", tmp_path / "wrong.csv"
    file.write_text(
        "First Name;Last Name;E-mail Address;Nickname\n"
        f"Ada;{mark};ada@{mark}.example;Countess\n"
        ";;;Nobody\n",
        encoding="utf-16",
    )
    words = ("contacts", str(file), "--errors", str(wrong))
    code, output, errors = await imported(crm, *words, "--dry-run")
    assert code == 3, errors
    assert "1 created, 0 updated, 0 skipped, 1 failed" in output
    assert "nothing was changed" in output
    assert "taken: First Name → given_name" in errors
    assert "left out: Nickname" in errors
    ours = {"filter": f'family_name = "{mark}"'}
    assert not (await crm.admin.get("/v1/contacts", **ours)).get("contacts")

    code, output, errors = await imported(crm, *words)
    assert code == 3, errors
    (contact,) = (await crm.admin.get("/v1/contacts", **ours))["contacts"]
    assert contact["display_name"] == f"Ada {mark}"
    assert contact["emails"][0]["address"] == f"ada@{mark}.example"
    mended = wrong.read_text().replace(",,,Nobody", f"Bob,{mark},,Nobody")
    wrong.write_text(mended)
    code, output, errors = await imported(crm, "contacts", str(wrong))
    assert code == 0, errors
    assert "import_error" not in errors
    assert len((await crm.admin.get("/v1/contacts", **ours))["contacts"]) == 2


async def test_without_proposals_only_what_is_said_is_taken(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """INVARIANT: a person, or a script, can rely on its own mapping alone."""
    file = tmp_path / "people.csv"
    file.write_text(f"First Name,Last Name\nAda,n{uuid4().hex}\n")
    command = ("contacts", str(file), "--no-proposals", "--map", "First Name=display_name")
    code, output, errors = await imported(crm, *command)
    assert code == 0, errors
    assert "taken" not in errors
    assert "1 created" in output


async def test_workbooks_and_cards_go_through_the_gateway_both_ways(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """INVARIANT: the bytes that come out go in again, as the command sends them and as a browser would."""
    mark = f"w{uuid4().hex}"
    people, sheet, cards = (tmp_path / f"people.{kind}" for kind in ("csv", "xlsx", "vcf"))
    people.write_text(
        f"external_id,given_name,family_name\n{mark}-1,Zoë,{mark}\n{mark}-2,=1,{mark}\n"
    )
    assert (await imported(crm, "contacts", str(people)))[0] == 0
    for file, kind in ((sheet, b"PK\x03\x04"), (cards, b"BEGIN:VCARD")):
        words = ("contacts", "--output", str(file), "--filter", f'family_name = "{mark}"')
        code, _, errors = await run_command(crm, "export", *words)
        assert code == 0, errors
        assert file.read_bytes().startswith(kind)
        code, output, errors = await imported(
            crm, "contacts", str(file), "--on-duplicate", "update"
        )
        assert code == 0, errors
        assert "0 created, 0 updated, 2 skipped" in output  # nothing differs
    media_type = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
    answer = await crm.admin.http.post(
        "/v1/customer/uploads", content=sheet.read_bytes(), headers={"content-type": media_type}
    )
    assert answer.status_code == 200, answer.text
    bad = await crm.admin.http.post("/v1/customer/uploads", content=b"PK\x03\x04bomb")
    assert bad.status_code == 400
    assert bad.json()["details"][0]["reason"] == "UNREADABLE_WORKBOOK"
