"""Invariant: whatever ended the server before, `start` brings it back with every committed row."""

import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.errors import FailedPrecondition
from crmkit.testing import eventually_sync

START_AND_WAIT = """
import sys, time
from pathlib import Path
from crmkit.embedded_postgres import EmbeddedPostgres
EmbeddedPostgres(Path(sys.argv[1])).start()
sys.stdout.write("started\\n")
sys.stdout.flush()
time.sleep(600)
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A data folder below one that nobody but its owner may enter, as /root is."""
    parent = tmp_path / "private"
    parent.mkdir(mode=0o700)
    return parent / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedPostgres]:
    """A started server with one committed row, as durable as in production."""
    server = EmbeddedPostgres(folder)
    server.start()
    server.create_database("sales")
    with psycopg.connect(server.url("sales")) as connection:
        connection.execute("CREATE TABLE quotes AS SELECT 'kept' AS state")
    yield server
    server.stop()


def states(server: EmbeddedPostgres) -> list[str]:
    with psycopg.connect(server.url("sales")) as connection:
        return [row[0] for row in connection.execute("SELECT state FROM quotes")]


def postmaster(folder: Path) -> int:
    return int((folder / "postgres" / "postmaster.pid").read_text().split()[0])


def setting(server: EmbeddedPostgres, name: str) -> str:
    with psycopg.connect(server.url("postgres")) as connection:
        row = connection.execute("SELECT current_setting(%s)", [name]).fetchone()
    assert row is not None
    return str(row[0])


def test_data_survives_a_stop_and_a_start(server: EmbeddedPostgres, folder: Path) -> None:
    server.stop()
    with pytest.raises(psycopg.OperationalError):
        states(server)
    again = EmbeddedPostgres(folder)
    again.start()
    try:
        assert states(again) == ["kept"]
    finally:
        again.stop()


def test_committed_data_survives_a_kill_of_the_postmaster(
    server: EmbeddedPostgres, folder: Path
) -> None:
    os.kill(postmaster(folder), signal.SIGKILL)
    server.start()
    assert states(server) == ["kept"]


def test_a_pid_file_whose_number_is_another_process_now_does_not_stop_the_start(
    server: EmbeddedPostgres, folder: Path
) -> None:
    server.stop()
    with subprocess.Popen(["/bin/sleep", "600"], user=folder.joinpath("postgres").owner()) as other:
        try:
            lines = [str(other.pid), "/elsewhere", "1", "5432", "/tmp", "", "1 1", "ready"]
            (folder / "postgres" / "postmaster.pid").write_text("\n".join(lines))
            server.start()
            assert states(server) == ["kept"]
        finally:
            other.kill()


def test_a_second_start_on_the_same_folder_is_refused(
    server: EmbeddedPostgres, folder: Path
) -> None:
    with pytest.raises(FailedPrecondition, match="in use") as refused:
        EmbeddedPostgres(folder).start()
    assert refused.value.reason == "DATA_FOLDER_IN_USE"
    assert states(server) == ["kept"]


def test_a_server_left_running_by_a_killed_process_is_taken_over(
    server: EmbeddedPostgres, folder: Path
) -> None:
    server.stop()
    with subprocess.Popen(
        [sys.executable, "-c", START_AND_WAIT, folder], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "started\n"
        process.kill()
    assert states(server) == ["kept"], "the server should outlive the killed process"
    server.start()
    assert states(server) == ["kept"]
    left = postmaster(folder)
    server.stop()
    assert eventually_sync(lambda: not Path(f"/proc/{left}").exists())


def test_an_interrupted_first_start_is_begun_anew(folder: Path) -> None:
    (folder / "postgres.new").mkdir(parents=True)
    (folder / "postgres.new" / "PG_VERSION").write_text("18\n")
    server = EmbeddedPostgres(folder)
    server.start()
    try:
        assert server.create_database("sales")
        assert not server.create_database("sales")
    finally:
        server.stop()


def test_a_folder_of_another_version_is_refused(server: EmbeddedPostgres, folder: Path) -> None:
    server.stop()
    (folder / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(FailedPrecondition) as refused:
        server.start()
    assert refused.value.reason == "DATA_FOLDER_OF_ANOTHER_VERSION"


def test_the_server_is_durable_private_and_without_a_port(
    server: EmbeddedPostgres, folder: Path
) -> None:
    for name in ("fsync", "synchronous_commit", "full_page_writes", "data_checksums"):
        assert setting(server, name) == "on"
    assert setting(server, "listen_addresses") == ""
    assert stat.S_IMODE((folder / "postgres.password").stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.parent.stat().st_mode) == 0o700
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(server.url("postgres", password="wrong"))


def test_chinese_and_accented_text_folds_and_matches(server: EmbeddedPostgres) -> None:
    with psycopg.connect(server.url("sales")) as connection:
        connection.execute("CREATE EXTENSION pg_trgm")
        query = "SELECT lower('ÀÉ'), similarity('张三丰', '张三峰') > 0"
        row = connection.execute(query).fetchone()
    assert row == ("àé", True)
