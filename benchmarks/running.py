"""`crm up` as people run it: a process of its own on a folder of its own."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from crmkit.ports import free_port

ADMIN = {"email": "admin@example.com", "password": "benchmarks-only"}
_KIB = 1024


@dataclass(frozen=True)
class Up:
    """A running `crm up`.

    Attributes:
        http: REST client, signed in as administrator.
        start_seconds: From the command to the first answer of /readyz.
    """

    url: str
    http: httpx.AsyncClient
    token: str
    process: subprocess.Popen[bytes]
    start_seconds: float
    data_dir: Path


@contextlib.asynccontextmanager
async def up(data_dir: Path, **environment: str) -> AsyncIterator[Up]:
    """Starts `crm up` on a folder, signs in and stops it again."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    settings = {
        "CRM_DATA_DIR": str(data_dir),
        "CRM_PORT": str(port),
        "CRM_ADMIN_EMAIL": ADMIN["email"],
        "CRM_ADMIN_PASSWORD": ADMIN["password"],
        "CRM_RATE_LIMIT": "100000000",
        **environment,
    }
    started = time.perf_counter()
    process = subprocess.Popen(  # noqa: ASYNC220 - once, before anything runs
        [sys.executable, "-c", "from crm_cli.main import app; app()", "up"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        limits = httpx.Limits(max_connections=64)
        async with httpx.AsyncClient(
            base_url=url, timeout=30, trust_env=False, limits=limits
        ) as http:
            await _until_ready(http, process)
            seconds = time.perf_counter() - started
            session = await http.post("/v1/sessions", json=ADMIN)
            token = session.json()["access_token"]
            http.headers["authorization"] = f"Bearer {token}"
            yield Up(url, http, token, process, seconds, data_dir)
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(60)


async def _until_ready(http: httpx.AsyncClient, process: subprocess.Popen[bytes]) -> None:
    async with asyncio.timeout(120):
        while True:
            if process.poll() is not None:
                msg = "crm up ended before it was ready"
                raise RuntimeError(msg)
            with contextlib.suppress(httpx.HTTPError):
                if (await http.get("/readyz")).status_code == httpx.codes.OK:
                    return
            await asyncio.sleep(0.02)


def memory_mb(process: subprocess.Popen[bytes], data_dir: Path) -> float:
    """Proportional memory (PSS) of the process, what it started, and its PostgreSQL."""
    postmaster = int((data_dir / "postgres" / "postmaster.pid").read_text().split()[0])
    wanted = {process.pid, postmaster}
    parents = {}
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError, ValueError, IndexError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            parents[int(entry.name)] = int(fields[1])
    grown = True
    while grown:
        below = {pid for pid, parent in parents.items() if parent in wanted} - wanted
        wanted |= below
        grown = bool(below)
    return sum(_pss(pid) for pid in wanted) / _KIB


def _pss(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1])
    return 0
