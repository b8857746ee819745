"""`crm up` is killed, stopped, started twice; what it acknowledged is there, and nothing stays behind.

INVARIANT: a write answered OK survives SIGKILL of any process, and counts once in every report.
"""

import asyncio
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from crmkit.testing import eventually

from .ledger import Ledger, signed_in
from .processes import CrmUp, alive, kill

SEED = 20261124
SECONDS_TO_RECOVER = 30


@pytest.fixture(scope="module")
def crm() -> Iterator[CrmUp]:
    """One installation that every fault finds as the last one left it."""
    with TemporaryDirectory(prefix="crm-resilience-") as folder:
        crm = CrmUp(Path(folder))
        try:
            crm.start()
            yield crm
        finally:
            crm.end()


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger(SEED)


@pytest.fixture
async def http(crm: CrmUp) -> AsyncIterator[httpx.AsyncClient]:
    """The administrator of a system that runs."""
    if not crm.child.running:
        crm.start()
    async with signed_in(crm.url) as client:
        yield client


def _everything(crm: CrmUp) -> None:
    kill([crm.child.pid, *crm.parts()])


def _all_but_postgres(crm: CrmUp) -> None:
    kill([crm.child.pid, *crm.parts("envoy")])


def _crm_alone(crm: CrmUp) -> None:
    kill([crm.child.pid])


@pytest.mark.parametrize("killed", [_everything, _all_but_postgres, _crm_alone])
async def test_nothing_acknowledged_is_lost_by_sigkill(
    crm: CrmUp, ledger: Ledger, http: httpx.AsyncClient, killed: Callable[[CrmUp], None]
) -> None:
    """Faults F1, F2, F4, F7 at once; the next start recovers by itself."""
    async with ledger.load(http, ledger.wish(120)):
        left_behind = crm.parts()
        await asyncio.to_thread(killed, crm)  # the clients go on meanwhile
    began = time.monotonic()
    crm.start(SECONDS_TO_RECOVER)
    assert time.monotonic() - began < SECONDS_TO_RECOVER
    assert not any(alive(pid) for pid in left_behind), "an old process still runs"
    async with signed_in(crm.url) as again:
        assert await ledger.repeat_doubtful(again) > 0, "nothing was under way"
        await ledger.require_all_there(again)
        await ledger.require_reported(again)


async def test_reports_equal_a_rebuild_after_all_that(
    ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """G6: the read model equals a fresh rebuild, hash for hash."""
    await ledger.require_reported(http)
    await ledger.require_rebuild_equal(http)


async def test_sigterm_under_load_fails_no_request_under_way(
    crm: CrmUp, ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """F22: what was accepted is answered, new calls are refused, it ends well within 10 s."""
    faults: list[str] = []

    async def client() -> None:
        async with httpx.AsyncClient(
            base_url=crm.url, headers=http.headers, timeout=20, trust_env=False
        ) as own:
            for _ in range(10_000):
                try:
                    answer = await own.get("/v1/opportunities", params={"page_size": 200})
                except (httpx.ConnectError, httpx.ReadError):
                    # Refused before it was accepted. A reset (ReadError) comes from the kernel, for a
                    # request that nobody has read; one that was read ends in RemoteProtocolError.
                    return
                except httpx.TransportError as error:
                    faults.append(repr(error))
                    return
                if answer.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                    return  # UNAVAILABLE: the caller may try again
                if answer.status_code != httpx.codes.OK:
                    faults.append(f"{answer.status_code} {answer.text}")

    clients = [asyncio.create_task(client()) for _ in range(8)]
    async with ledger.load(http, 20):
        left_behind = crm.parts()
    began = time.monotonic()
    crm.child.signal(signal.SIGTERM)
    code = await asyncio.to_thread(crm.child.ends)
    seconds = time.monotonic() - began
    await asyncio.gather(*clients)
    assert not faults
    assert (code, seconds < 10) == (0, True), f"{seconds:.1f} s: {crm.child.output()[-2000:]}"
    assert not any(alive(pid) for pid in left_behind)


async def test_ctrl_c_leaves_nothing_running_and_the_next_start_has_the_data(
    crm: CrmUp, ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """Nor does a later start tell the password again."""
    async with ledger.load(http, 10):
        left_behind = crm.parts()
    assert crm.parts("envoy")
    assert crm.parts("postgres")
    crm.child.signal(signal.SIGINT)
    assert await asyncio.to_thread(crm.child.ends) == 0
    assert not any(alive(pid) for pid in left_behind)
    crm.start()
    said = crm.child.output()
    assert crm.url in said
    assert "password" not in said
    async with signed_in(crm.url) as again:
        await ledger.require_all_there(again)
        await ledger.require_reported(again)


async def test_a_second_system_on_the_folder_is_refused_and_the_first_goes_on(
    crm: CrmUp, http: httpx.AsyncClient
) -> None:
    second = CrmUp(crm.folder)
    second.launch()
    assert await asyncio.to_thread(second.child.ends) == 1
    assert "in use by another running system" in " ".join(second.child.output().split())
    assert (await http.get("/readyz")).status_code == httpx.codes.OK


async def test_a_taken_port_is_named_and_nothing_is_left(
    crm: CrmUp, http: httpx.AsyncClient, tmp_path: Path
) -> None:
    assert (await http.get("/readyz")).status_code == httpx.codes.OK
    second = CrmUp(tmp_path, CRM_PORT=str(crm.port))
    second.launch()
    parts: set[int] = set()
    while second.child.running:
        parts |= set(second.parts())
        await asyncio.sleep(0.02)
    assert second.child.ends() == 1
    assert f"Port {crm.port} on 127.0.0.1 is taken" in " ".join(second.child.output().split())
    assert "Traceback" not in second.child.output()
    assert not any(alive(pid) for pid in parts)


@pytest.mark.parametrize("command", [("events", "identity"), ("parked", "list", "reporting")])
async def test_operators_commands_find_the_system_by_its_folder(
    crm: CrmUp,
    http: httpx.AsyncClient,  # noqa: ARG001 - the system runs
    command: tuple[str, ...],
) -> None:
    found = await asyncio.to_thread(crm.command, *command)
    assert found.returncode == 0, found.stderr
    assert ("identity.user.created" in found.stdout) == (command[0] == "events")


async def test_an_impossible_administrator_is_refused_before_anything_is_made(
    tmp_path: Path,
) -> None:
    """The setting is named; the next start, with a better one, is a first start."""
    crm = CrmUp(tmp_path, CRM_ADMIN_EMAIL="nobody")
    crm.launch()
    assert await asyncio.to_thread(crm.child.ends) == 1
    assert "CRM_ADMIN_EMAIL" in crm.child.output()
    assert not (tmp_path / "data").exists()


async def test_ctrl_c_while_starting_leaves_nothing_running(tmp_path: Path) -> None:
    """Also in the middle of making the database cluster."""
    crm = CrmUp(tmp_path)
    crm.launch()
    try:
        await eventually(lambda: crm.parts("postgres", "initdb"), timeout=20)
        parts = crm.parts()
        crm.child.signal(signal.SIGINT)
        assert await asyncio.to_thread(crm.child.ends) == 0
        assert not any(alive(pid) for pid in parts)
    finally:
        crm.end()
    crm.start()
    try:
        assert "password" in crm.child.output(), "the first password was never told"
    finally:
        crm.child.signal(signal.SIGTERM)
        crm.child.ends()
        crm.end()
