"""Envoy as a process of `crm up`: started, drained, stopped; a leftover of a killed run is ended."""

import asyncio
import json
import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import httpx

from gateway.envoy import envoy_command

_SECONDS_TO_DRAIN = 5.0
_SECONDS_TO_STOP = 5.0
_SECONDS_BETWEEN_LOOKS = 0.05
_QUIET_LOOKS = 4
_ACTIVE = "downstream_rq_active"


class EnvoyProcess:
    """One Envoy that keeps its files in a folder."""

    def __init__(self, folder: Path) -> None:
        """Names the folder; nothing is touched before `start`."""
        self.log = folder / "envoy.log"
        self._config = folder / "envoy.json"
        self._admin_address = folder / "envoy.admin"
        self._pid_file = folder / "envoy.pid"
        self._process: subprocess.Popen[bytes] | None = None

    def end_leftover(self) -> None:
        """Ends an Envoy that a killed `crm up` left running with this folder's files."""
        with suppress(FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
            pid = int(self._pid_file.read_text())
            deadline = time.monotonic() + _SECONDS_TO_STOP
            while self._is_ours(pid) and time.monotonic() < deadline:
                os.kill(pid, signal.SIGKILL)
                time.sleep(_SECONDS_BETWEEN_LOOKS)

    def start(self, bootstrap: dict[str, Any]) -> None:
        """Runs Envoy in a session of its own: Ctrl-C in the terminal is for us, not for it."""
        self._config.parent.mkdir(exist_ok=True)
        self._config.write_text(json.dumps(bootstrap))
        self._admin_address.unlink(missing_ok=True)
        command = envoy_command(self._config, concurrency=1)
        command += ["--admin-address-path", str(self._admin_address)]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the program is ours
                command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
            )
        self._pid_file.write_text(str(self._process.pid))

    def ended(self) -> bool:
        """True if it was started and runs no more."""
        return self._process is not None and self._process.poll() is not None

    async def stop(self) -> None:
        """Takes no new connections, lets the requests under way end, then stops. Never fails."""
        with suppress(httpx.HTTPError, OSError, ValueError, TimeoutError):
            async with asyncio.timeout(_SECONDS_TO_DRAIN):
                await self._drain()
        await asyncio.to_thread(self._terminate)
        self._pid_file.unlink(missing_ok=True)

    async def _drain(self) -> None:
        url = f"http://{self._admin_address.read_text().strip()}"
        async with httpx.AsyncClient(base_url=url, trust_env=False) as admin:
            # Every answer now asks its client to close the connection.
            await admin.post("/healthcheck/fail")
            await admin.post("/drain_listeners")
            quiet = 0
            while quiet < _QUIET_LOOKS:  # a request may have been sent that Envoy has not read yet
                quiet = 0 if await _requests_under_way(admin) else quiet + 1
                await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)

    def _terminate(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(_SECONDS_TO_STOP)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def _is_ours(self, pid: int) -> bool:
        """A number may have been given to another process since."""
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            return False
        return os.fsencode(self._config) in command.split(b"\0")


async def _requests_under_way(admin: httpx.AsyncClient) -> bool:
    answer = await admin.get("/stats", params={"filter": f"^http.gateway.{_ACTIVE}$"})
    return any(int(line.rpartition(":")[2]) > 0 for line in answer.text.splitlines() if line)
