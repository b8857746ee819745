"""`crm import` against a running system."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from crmkit.testing import eventually

from .conftest import ADMIN, RunningSystem

CRM = Path(sys.executable).with_name("crm")
ROWS = 30_000


async def test_an_import_that_nobody_watches_any_more_goes_on_and_says_so(
    crm: RunningSystem, tmp_path: Path
) -> None:
    """INVARIANT: whoever presses Ctrl-C knows that the file need not be sent again."""
    file = tmp_path / "accounts.csv"
    file.write_text("display_name\n" + "".join(f"Unwatched {n}\n" for n in range(ROWS)))
    before = {run["name"] for run in await imports(crm)}
    environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")} | {
        "CRM_URL": crm.system.url, "CRM_EMAIL": ADMIN["email"], "CRM_PASSWORD": ADMIN["password"],
    }  # fmt: skip
    child = await asyncio.create_subprocess_exec(
        CRM, "import", "accounts", file, env=environment, stderr=asyncio.subprocess.PIPE
    )

    async def begun() -> Any:
        new = [run for run in await imports(crm) if run["name"] not in before]
        return next((run for run in new if run["state"] == "RUNNING"), None)

    run = await eventually(begun)
    child.send_signal(signal.SIGINT)
    _, said = await child.communicate()
    assert child.returncode not in (0, None)
    assert f"/v1/customer/{run['name']}" in said.decode()

    async def succeeded() -> bool:
        found = await crm.admin.get(f"/v1/customer/{run['name']}")
        return bool(found["state"] == "SUCCEEDED" and found["created_count"] == str(ROWS))

    await eventually(succeeded, timeout=60)


async def imports(crm: RunningSystem) -> list[Any]:
    """The administrator's imports into customer."""
    answer = await crm.admin.get("/v1/customer/imports")
    found: list[Any] = answer.get("imports", [])
    return found
