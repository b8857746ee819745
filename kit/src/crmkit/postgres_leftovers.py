"""What a killed PostgreSQL server leaves behind, and how to tell it from a living one.

Every process of a server that we start carries its cluster's name on its command line, which unlike
its working directory any user may read.
"""

import os
from pathlib import Path

_PROCESSES = Path("/proc")


def running_server(cluster: Path, name: str) -> int | None:
    """The process id of the server that runs on a cluster, whoever started it."""
    try:
        pid = int((cluster / "postmaster.pid").read_text().split("\n", 1)[0])
    except (FileNotFoundError, ValueError):
        return None
    return pid if _is_of_server(pid, name) else None


def remove_stale_files(cluster: Path, socket_dir: Path, name: str) -> None:
    """Removes a dead server's files once no process of that server is left.

    PostgreSQL does so itself unless the server's number was given to another process since, which
    is common in containers. All processes are looked at because some may outlive a killed server.
    """
    if not _PROCESSES.exists():
        return
    numbers = (int(entry.name) for entry in _PROCESSES.iterdir() if entry.name.isdecimal())
    if not any(_is_of_server(number, name) for number in numbers):
        (cluster / "postmaster.pid").unlink(missing_ok=True)
        (socket_dir / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _is_of_server(pid: int, name: str) -> bool:
    if not _PROCESSES.exists():  # not Linux: believe the file
        return _is_alive(pid)
    try:
        command = (_PROCESSES / str(pid) / "cmdline").read_text(errors="replace")
    except OSError:  # it has just ended
        return False
    return f"--cluster_name={name}" in command or f"postgres: {name}: " in command


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
