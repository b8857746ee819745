"""A page of a customer with a long history, and of one with a short: `python -m benchmarks.customer_view`.

One process of the customer service, asked over gRPC by one client, with a crowd of other customers around.
"""

import asyncio
import contextlib
import json
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import UUID

import grpc
import psycopg
import uvloop

from benchmarks.results import Figure, compared, report
from crm.customer.v1 import customer_view_pb2 as pb
from crm.customer.v1 import customer_view_pb2_grpc as pb_grpc
from crmkit import migrations
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.testing.harness import ISSUER, Person, ServiceUnderTest
from customer.service import SERVICE

_SHORT, _LONG = 100, 10_000  # entries of the two timelines
_CROWD, _EACH = 200, 500  # other customers, and the entries of each
_CALLS = 300
_OWN = (("customer.*", "OWN"), ("sales.*", "OWN"), ("support.*", "OWN"))
_FILL = Path(__file__).with_suffix(".sql").read_text()
_TABLES = (
    "accounts, interactions, tasks, appointments, timeline_records, timeline_entries, contacts"
)


@dataclass(frozen=True)
class _Bench:
    """The service, whom it is asked about, and who asks: who sees all, and who sees hardly anything."""

    stub: pb_grpc.CustomerViewServiceStub
    short: UUID
    long: UUID
    readers: dict[str, Person]


@contextlib.asynccontextmanager
async def _bench() -> AsyncIterator[_Bench]:
    """Starts the service on a durable PostgreSQL full of customers."""
    with TemporaryDirectory(prefix="crm-bench-") as folder, contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        stack.callback(postgres.stop)
        postgres.create_database("ours")
        migrations.migrate(postgres.url("ours"), SERVICE.migrations)
        create_service_keys(Path(folder) / "keys", [SERVICE.name])
        port = free_port()
        settings = {
            "database_url": postgres.url("ours"),
            "services": {"customer": f"127.0.0.1:{port}"},
            "keys_dir": f"{folder}/keys",
            "public_url": ISSUER,
        }
        readers = await _readers(settings)
        short, long = uuid7(), uuid7()
        await asyncio.to_thread(_fill, postgres.url("ours"), short, long, readers["own"].id)
        _serve(stack, settings)
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield _Bench(pb_grpc.CustomerViewServiceStub(channel), short, long, readers)


async def _readers(settings: dict[str, object]) -> dict[str, Person]:
    """Makes two users known to the database before the service starts."""
    running = RunningService(SERVICE, ServiceSettings.model_validate(settings), roles=())
    await running.database.open()
    under_test = ServiceUnderTest(running, "127.0.0.1:1")
    await under_test.prepare()
    readers = {"all": await under_test.person("*"), "own": await under_test.person(*_OWN)}
    await under_test.channel.close()
    await running.database.close()
    return readers


def _serve(stack: contextlib.ExitStack, settings: dict[str, object]) -> None:
    command = [sys.executable, "-m", "benchmarks.pair", json.dumps(settings)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)  # noqa: S603 - our own module
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    if "ready" not in process.stdout.readline():
        msg = "the service did not start"
        raise RuntimeError(msg)


def _fill(url: str, short: UUID, long: UUID, owner: UUID) -> None:
    """Histories of customers; the accounts and every thousandth record belong to `owner`."""
    sizes = [(short, _SHORT), (long, _LONG), *((uuid7(), _EACH) for _ in range(_CROWD))]
    with psycopg.connect(url, autocommit=True) as connection:
        for account, entries in sizes:
            values = {"account": account, "entries": entries, "owner": owner, "other": uuid7()}
            for statement in _FILL.split(";\n"):
                if statement.strip():
                    connection.execute(statement, values)
        connection.execute(f"VACUUM ANALYZE {_TABLES}")  # type: ignore[arg-type] - names of our own


async def _p95(call: Callable[[UUID], Awaitable[object]], *accounts: UUID) -> list[float]:
    """Milliseconds within which 95 of 100 calls are answered, for each account; in turns."""
    durations: list[list[float]] = [[] for _ in accounts]
    for _ in range(_CALLS):
        for account, found in zip(accounts, durations, strict=True):
            began = time.perf_counter()
            await call(account)
            found.append(time.perf_counter() - began)
    return [sorted(found)[int(_CALLS * 0.95)] * 1000 for found in durations]


async def measure() -> dict[str, Figure]:
    """95th percentiles for 10,000 entries (ours) against 100 (reference): 1.0 is flat."""
    figures = {}
    async with _bench() as bench:
        for who, reader in bench.readers.items():
            calls: dict[str, Callable[[UUID], Awaitable[object]]] = {
                "view": partial(_view, bench, reader),
                "timeline": partial(_timeline, bench, reader),
            }
            for what, call in calls.items():
                await _p95(call, bench.long, bench.short)  # first plans, first pages from disk
                long, short = await _p95(call, bench.long, bench.short)
                figures[f"customer.{what}_p95_ms.{who}"] = compared(long, short, "ms")
    return figures


def _view(bench: _Bench, reader: Person, account: UUID) -> Awaitable[object]:
    request = pb.GetCustomerViewRequest(name=f"accounts/{account}")
    return bench.stub.GetCustomerView(request, metadata=reader.metadata)


def _timeline(bench: _Bench, reader: Person, account: UUID) -> Awaitable[object]:
    request = pb.ListAccountTimelineRequest(
        parent=f"accounts/{account}", filter='kind = OPPORTUNITY_WON OR source = "support"'
    )
    return bench.stub.ListAccountTimeline(request, metadata=reader.metadata)


if __name__ == "__main__":
    report(uvloop.run(measure()))
