"""Our customer service and the hand-written reference, each in a process and a database of its own."""

import asyncio
import contextlib
import json
import subprocess
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import grpc
import psycopg
import uvloop

from benchmarks.load import closed_loop, in_turns
from benchmarks.results import Figure, compared
from crm.customer.v1 import account_pb2, account_pb2_grpc
from crmkit import migrations
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.testing.harness import ISSUER, Person, ServiceUnderTest
from customer.service import SERVICE

Metadata = tuple[tuple[str, str], ...]
_UPDATED = 64  # records that the update loop turns over
_SMALL, _LARGE = 10_000, 1_000_000
_FILL = """
INSERT INTO accounts (id, version, create_time, update_time, owner, creator, labels, display_name, kind,
                      state, emails, phones, addresses)
SELECT ('01900000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'))::uuid, 1, now(), now(), %(user)s, %(user)s,
       '{}', 'Filler ' || n, 'ORGANISATION', 'PROSPECT', '[]', '[]', '[]'
  FROM generate_series(%(first)s::bigint, %(last)s::bigint) AS n
"""


@dataclass(frozen=True)
class Pair:
    """Stubs of both servers."""

    ours: account_pb2_grpc.AccountServiceStub
    reference: account_pb2_grpc.AccountServiceStub
    person: Person
    database_url: str

    @property
    def metadata(self) -> Metadata:
        """What our service wants to know of the caller; the reference does not ask."""
        return self.person.metadata


@contextlib.asynccontextmanager
async def pair() -> AsyncIterator[Pair]:
    """Starts both on one durable PostgreSQL."""
    with TemporaryDirectory(prefix="crm-bench-") as folder, contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        stack.callback(postgres.stop)
        for name in ("ours", "reference"):
            postgres.create_database(name)
            migrations.migrate(postgres.url(name), SERVICE.migrations)
        create_service_keys(Path(folder) / "keys", [SERVICE.name])
        ports = free_port(), free_port()
        settings = {
            "database_url": postgres.url("ours"),
            "services": {"customer": f"127.0.0.1:{ports[0]}"},
            "keys_dir": f"{folder}/keys",
            "public_url": ISSUER,
        }
        person = await _person(settings)
        start(stack, "benchmarks.pair", json.dumps(settings))
        start(stack, "benchmarks.reference", postgres.url("reference"), str(ports[1]))
        channels = [grpc.aio.insecure_channel(f"127.0.0.1:{port}") for port in ports]
        stubs = [account_pb2_grpc.AccountServiceStub(channel) for channel in channels]
        yield Pair(stubs[0], stubs[1], person, postgres.url("ours"))
        for channel in channels:
            await channel.close()


async def _person(settings: dict[str, object]) -> Person:
    """Makes a user known to the database before the service starts."""
    running = RunningService(SERVICE, ServiceSettings.model_validate(settings), roles=())
    await running.database.open()
    under_test = ServiceUnderTest(running, "127.0.0.1:1")
    await under_test.prepare()
    person = await under_test.person("*")
    await under_test.channel.close()
    await running.database.close()
    return person


def start(stack: contextlib.ExitStack, module: str, *arguments: str) -> None:
    """Starts a module of ours as a process that says when it is ready; it ends with the stack."""
    process = subprocess.Popen(  # noqa: S603 - our own module
        [sys.executable, "-m", module, *arguments], stdout=subprocess.PIPE, text=True
    )
    stack.callback(process.wait)
    stack.callback(process.kill)
    assert process.stdout is not None
    if "ready" not in process.stdout.readline():
        msg = f"{module} did not start"
        raise RuntimeError(msg)


def _request(number: int) -> account_pb2.CreateAccountRequest:
    account = account_pb2.Account(
        display_name=f"Acme {number}",
        industry="retail",
        employee_count=5,
        website="https://acme.example",
        emails=[{"address": f"a{number}@acme.example"}],
        labels={"tier": "gold"},
    )
    return account_pb2.CreateAccountRequest(account=account, request_id=str(uuid4()))


def _change(name: str, number: int) -> account_pb2.UpdateAccountRequest:
    account = account_pb2.Account(name=name, display_name=f"B {number}")
    return account_pb2.UpdateAccountRequest(account=account, request_id=str(uuid4()))


async def measure() -> dict[str, Figure]:
    """Create, get, update and list against the reference; a page of a million rows against 10,000."""
    async with pair() as both:
        ours, reference, metadata = both.ours, both.reference, both.metadata
        mine = [
            (await ours.CreateAccount(_request(n), metadata=metadata)).name for n in range(_UPDATED)
        ]
        theirs = [(await reference.CreateAccount(_request(n))).name for n in range(_UPDATED)]
        get, page = account_pb2.GetAccountRequest, account_pb2.ListAccountsRequest(page_size=50)
        loops = {
            "grpc.create": (
                lambda n: ours.CreateAccount(_request(n), metadata=metadata),
                lambda n: reference.CreateAccount(_request(n)),
            ),
            "grpc.get": (
                lambda n: ours.GetAccount(get(name=mine[n % _UPDATED]), metadata=metadata),
                lambda n: reference.GetAccount(get(name=theirs[n % _UPDATED])),
            ),
            "grpc.update": (
                lambda n: ours.UpdateAccount(_change(mine[n % _UPDATED], n), metadata=metadata),
                lambda n: reference.UpdateAccount(_change(theirs[n % _UPDATED], n)),
            ),
            "grpc.list": (
                lambda _n: ours.ListAccounts(page, metadata=metadata),
                lambda _n: reference.ListAccounts(page),
            ),
        }
        figures = {}
        for name, (our_call, reference_call) in loops.items():
            figures[name] = compared(*await in_turns(our_call, reference_call), "calls/s")
        figures["list.million_rows"] = await _million_rows(both)
        return figures


async def _million_rows(both: Pair) -> Figure:
    """Pages a second out of a million rows (ours) against 10,000 (reference): 1.0 is flat."""
    page = account_pb2.ListAccountsRequest(
        page_size=50, filter='display_name = "Filler 1*"', order_by="display_name"
    )

    async def pages_per_second() -> float:
        call = both.ours.ListAccounts
        return (await closed_loop(lambda _n: call(page, metadata=both.metadata))).per_second

    await asyncio.to_thread(_fill, both, 1, _SMALL)
    small = await pages_per_second()
    await asyncio.to_thread(_fill, both, _SMALL + 1, _LARGE)
    return compared(await pages_per_second(), small, "pages/s")


def _fill(both: Pair, first: int, last: int) -> None:
    with psycopg.connect(both.database_url, autocommit=True) as connection:
        connection.execute(_FILL, {"user": both.person.id, "first": first, "last": last})
        connection.execute("ANALYZE accounts")


async def _serve(settings: dict[str, object]) -> None:
    running = RunningService(SERVICE, ServiceSettings.model_validate(settings), ("serve",))
    await running.start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await running.stopping.wait()


if __name__ == "__main__":
    uvloop.run(_serve(json.loads(sys.argv[1])))
