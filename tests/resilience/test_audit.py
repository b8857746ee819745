"""The audit log under SIGKILL, of the service that acts and of the one that keeps the log."""

import asyncio
import os
import random
import signal
import sys
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import grpc
import psycopg
import pytest_asyncio

from crm.common.v1 import export_pb2
from crm.customer.v1 import export_pb2_grpc
from crm.identity.v1 import session_pb2, session_pb2_grpc
from crm_cli.services import service
from crmkit import migrations
from crmkit.ports import free_port
from crmkit.service_tokens import create_service_keys
from crmkit.testing import eventually
from crmkit.testing.postgres import TestServer

from .host import READY
from .processes import ADMIN, Child

ROOT = Path(__file__).parents[2]
SEED = 20261126
NAMES = ("identity", "customer")
_NO_ANSWER = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
CREATE = "customer.ExportService.CreateExport"
DOWNLOAD = "customer.ExportService.DownloadExport"


class Two:
    """Identity and customer, each in a process of its own."""

    def __init__(self, folder: Path, urls: dict[str, str]) -> None:
        self.folder, self.urls, self.starts = folder, urls, 0
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.children: dict[str, Child] = {}
        create_service_keys(folder, NAMES)

    async def start(self, name: str, die_at: str = "") -> Child:
        self.starts += 1
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        environment |= {
            "PYTHONPATH": str(ROOT), "CRM_DATABASE_URL": self.urls[name],
            "CRM_SERVICES": ",".join(f"{k}={v}" for k, v in self.addresses.items()),
            "CRM_KEYS_DIR": str(self.folder), "CRM_PUBLIC_URL": "http://crm.test",
            "CRM_ADMIN_EMAIL": ADMIN["email"], "CRM_ADMIN_PASSWORD": ADMIN["password"],
        }  # fmt: skip
        # Armed, it does nothing but answer: then it dies with an act at hand.
        part = f"{name}:serve,relay,consume" if die_at else name
        command = [sys.executable, "-m", "tests.resilience.host", part, "--die-at", die_at]
        child = Child(command, environment, self.folder / f"{self.starts}-{name}.log")
        self.children[name] = child
        await asyncio.to_thread(child.wait_for, READY, 60)
        return child

    async def dies(self, name: str) -> None:
        child = self.children[name]
        code = await asyncio.to_thread(child.ends, 30)
        assert code == -signal.SIGKILL, child.output()[-2000:]

    def ask(self, name: str, query: str) -> list[Any]:
        with psycopg.connect(self.urls[name]) as connection:
            return connection.execute(query).fetchall()

    def end(self) -> None:
        for child in self.children.values():
            if child.running:
                child.kill()


@pytest_asyncio.fixture
async def two(postgres: TestServer, tmp_path: Path) -> AsyncIterator[Two]:
    urls = {name: postgres.new_database() for name in NAMES}
    for name, url in urls.items():
        migrations.migrate(url, service(name).migrations)
    running = Two(tmp_path, urls)
    try:
        await asyncio.gather(*(running.start(name) for name in NAMES))
        yield running
    finally:
        running.end()
        for url in urls.values():
            postgres.drop(url)


@dataclass
class Ledger:
    """What a client was told.

    Attributes:
        created: The exports that were acknowledged.
        downloaded: The request ids of downloads that were received to their end.
        doubtful: Creations without an answer, by request id.
        attempted: The request ids of all downloads.
    """

    created: set[str] = field(default_factory=set)
    downloaded: set[str] = field(default_factory=set)
    doubtful: set[str] = field(default_factory=set)
    attempted: set[str] = field(default_factory=set)


@dataclass
class Client:
    """Somebody who exports and downloads, as fast as they are answered."""

    stub: Any
    metadata: tuple[tuple[str, str], ...]
    ledger: Ledger
    random: random.Random
    ready_export: str = ""

    def _id(self) -> str:
        return str(UUID(int=self.random.getrandbits(128), version=4))

    async def create(self, request_id: str) -> None:
        wanted = export_pb2.Export(resource="accounts")
        request = export_pb2.CreateExportRequest(export=wanted, request_id=request_id)
        self.ledger.doubtful.add(request_id)
        run = await self.stub.CreateExport(request, metadata=self.metadata, timeout=5)
        self.ledger.doubtful.discard(request_id)
        self.ledger.created.add(run.name)

    async def download(self, request_id: str) -> None:
        request = export_pb2.DownloadExportRequest(name=self.ready_export)
        metadata = (*self.metadata, ("x-request-id", request_id))
        self.ledger.attempted.add(request_id)
        answer = self.stub.DownloadExport(request, metadata=metadata, timeout=5)
        assert b"".join([piece.data async for piece in answer])
        self.ledger.downloaded.add(request_id)

    async def act(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            act = self.create if self.random.random() < 0.5 else self.download
            await answered(act(self._id()))
            await asyncio.sleep(0.05)  # a pace that leaves the log's keeper time to follow


async def answered(call: Awaitable[None]) -> bool:
    try:
        await call
    except grpc.aio.AioRpcError as error:
        if error.code() not in _NO_ANSWER:
            raise
        return False
    return True


async def signed_in(two: Two) -> tuple[tuple[str, str], ...]:
    async with grpc.aio.insecure_channel(two.addresses["identity"]) as channel:
        sessions: Any = session_pb2_grpc.SessionServiceStub(channel)
        session = await sessions.CreateSession(session_pb2.CreateSessionRequest(**ADMIN))
        return (("authorization", f"Bearer {session.access_token}"),)


async def kill(two: Two, name: str, points: list[str]) -> None:
    """First anywhere, then at each point; afterwards the service goes on."""
    two.children[name].kill()
    for point in points:
        await two.start(name, point)
        await two.dies(name)
    await two.start(name)


async def test_acts_are_recorded_once_whatever_dies(two: Two) -> None:
    """INVARIANT: every acknowledged act has one entry, none has two; the log has what the service has."""
    chance, ledger, stop = random.Random(SEED), Ledger(), asyncio.Event()
    metadata = await signed_in(two)
    options = (("grpc.max_reconnect_backoff_ms", 200), ("grpc.initial_reconnect_backoff_ms", 50))
    async with grpc.aio.insecure_channel(two.addresses["customer"], options) as channel:
        stub: Any = export_pb2_grpc.ExportServiceStub(channel)
        clients = [Client(stub, metadata, ledger, random.Random(SEED + n)) for n in range(3)]
        await clients[0].create(str(UUID(int=SEED, version=4)))
        (first,) = ledger.created

        async def exported() -> bool:
            request = export_pb2.GetExportRequest(name=first)
            run = await stub.GetExport(request, metadata=metadata)
            return bool(run.state == export_pb2.Export.SUCCEEDED)

        await eventually(exported)
        for client in clients:
            client.ready_export = first
        acting = [asyncio.create_task(client.act(stop)) for client in clients]
        points = [
            f"service-{when}-commit:{chance.randrange(5, 30)}"
            for when in ("before", "before", "after", "before")
        ]
        await asyncio.sleep(chance.uniform(0.2, 0.8))  # wherever they are
        await asyncio.gather(
            kill(two, "customer", points), kill(two, "identity", ["consumer-before-commit:2"])
        )
        stop.set()
        await asyncio.gather(*acting)
        for request_id in sorted(ledger.doubtful):
            await clients[0].create(request_id)  # what was in doubt is settled by asking again
    assert len(ledger.created) > 20
    assert len(ledger.downloaded) > 20
    await eventually(lambda: not two.ask("customer", "SELECT 1 FROM outbox LIMIT 1"))

    def all_there() -> bool:
        told = two.ask("customer", _TOLD)
        return told == two.ask("identity", _KEPT)

    with suppress(AssertionError):
        await eventually(all_there)
    assert two.ask("identity", _KEPT) == two.ask("customer", _TOLD)
    exports = [f"exports/{id_}" for (id_,) in two.ask("customer", "SELECT id FROM export")]
    assert set(exports) == ledger.created
    created = [s for (s,) in two.ask("identity", _OF.format("subject", CREATE))]
    assert sorted(created) == sorted(exports)
    downloads = [c for (c,) in two.ask("identity", _OF.format("correlation_id", DOWNLOAD))]
    assert len(downloads) == len(set(downloads))
    assert ledger.downloaded <= set(downloads) <= ledger.attempted


_OF = "SELECT {} FROM audit_entries WHERE action = '{}'"
_TOLD = """SELECT split_part(subject, '/', 2) FROM event_log
            WHERE routing_key = 'customer.audit_entry.recorded' ORDER BY 1"""
_KEPT = "SELECT id::text FROM audit_entries WHERE action LIKE 'customer.%' ORDER BY 1"
