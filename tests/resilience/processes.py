"""Real processes for fault tests: started, watched, killed by number, never by name."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from crmkit.ports import free_port
from crmkit.testing.polling import eventually_sync

CRM = Path(sys.executable).with_name("crm")
ADMIN = {"email": "admin@crm.test", "password": "correct horse battery"}


def descendants(pid: int) -> list[int]:
    """Every process that a process started, and those that they started."""
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            with suppress(OSError):
                parents[int(entry.name)] = int(_status(entry)[1])
    return list(_below(pid, parents))


def _below(pid: int, parents: dict[int, int]) -> Iterator[int]:
    for child, parent in parents.items():
        if parent == pid:
            yield child
            yield from _below(child, parents)


def _status(process: Path) -> list[str]:
    """State, parent and so on: what follows the name in parentheses."""
    return (process / "stat").read_text().rpartition(")")[2].split()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits for its parent does not."""
    try:
        return _status(Path(f"/proc/{pid}"))[0] not in {"Z", "X"}
    except OSError:
        return False


def command_line(pid: int) -> str:
    """A process's command line; empty if it has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""


def kill(pids: Iterable[int]) -> None:
    """SIGKILL to each, and waits until all are gone."""
    pids = list(pids)
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    eventually_sync(lambda: not any(alive(pid) for pid in pids))


class Child:
    """A process of ours whose output goes to a file."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        self.log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def running(self) -> bool:
        return self.process.poll() is None

    def output(self) -> str:
        return self.log.read_text(errors="replace")

    def wait_for(self, text: str, seconds: float = 30) -> None:
        """Returns once the process has said something; fails if it ends instead."""
        eventually_sync(lambda: text in self.output() or not self.running, seconds)
        assert text in self.output(), f"it ended: {self.output()[-3000:]}"

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ends(self, seconds: float = 15) -> int:
        """Waits until it has ended; answers its exit code."""
        return self.process.wait(seconds)

    def kill(self) -> None:
        """SIGKILL, to this process alone."""
        self.process.kill()
        self.process.wait(10)


class CrmUp:
    """`crm up` on a folder and a port of its own."""

    def __init__(self, folder: Path, **settings: str) -> None:
        self.folder = folder
        self.port = int(settings.pop("CRM_PORT", 0)) or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = {
            "CRM_DATA_DIR": str(folder / "data"),
            "CRM_PORT": str(self.port),
            "CRM_ADMIN_EMAIL": ADMIN["email"],
            "CRM_ADMIN_PASSWORD": ADMIN["password"],
            "CRM_RATE_LIMIT": "1000000",
            **settings,
        }
        self._starts = 0
        self.child: Child

    def start(self, seconds: float = 30) -> None:
        """Starts and returns once it has said where it runs, to the last line."""
        self.launch()
        self.child.wait_for("Ctrl-C stops it", seconds)

    def launch(self) -> None:
        """Starts and returns at once."""
        self._starts += 1
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        log = self.folder / f"up-{self._starts}.log"
        self.child = Child([str(CRM), "up"], environment | self._settings, log)

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs another command of `crm` on the same folder, to its end."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        environment["CRM_DATA_DIR"] = self._settings["CRM_DATA_DIR"]
        return subprocess.run(
            [str(CRM), *arguments], env=environment, capture_output=True, text=True, check=False
        )

    def parts(self, *programs: str) -> list[int]:
        """Its processes, or those of certain programs: `envoy`, `postgres`."""
        found = descendants(self.child.pid)
        if not programs:
            return found
        return [
            pid
            for pid in found
            if any(name in command_line(pid).split(" ")[0] for name in programs)
        ]

    def end(self) -> None:
        """Whatever the test did: nothing of it runs afterwards."""
        parts = self.parts()
        if self.child.running:
            self.child.kill()
        kill(parts)
