"""`python -m benchmarks.search`: searches of a million contacts beside the same of ten thousand, in one run.

Both lie in databases of one server, each behind a service process of its own, and are asked in turns by one
client, so that a busy machine hits both alike. `python -m benchmarks.search 200000` takes fewer rows.
"""

import contextlib
import json
import random
import sys
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import UUID

import grpc
import psycopg
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.crowd import SEED, People
from benchmarks.pair import Metadata, start
from crm.common.v1 import search_pb2
from crm.customer.v1 import search_pb2_grpc
from crmkit import migrations
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.testing.harness import ISSUER, Person, ServiceUnderTest
from customer.domain.contact import Contact
from customer.service import SERVICE
from customer.storage.contact import CONTACTS
from customer.storage.search import put_new

_SMALL, _LARGE = 10_000, 1_000_000
_AT_ONCE = 5_000
_TEAMS, _OWNERS = 50, 1_000
_ASKED, _ASKED_WORST = 300, 20  # times each kind of query, and each of the odd ones
_WORST = [
    "John", "Berlin", "mail", "j", "jo", "王", "4", "49", "j s", "a e i o u", "x" * 256, "wxyz" * 60,
    "a " * 128, "%%%%", "___ %", "((a+)+)+$", "zzzz qqqq", "johnnn smithhh", "maria anna peter thomas",
]  # fmt: skip
console = Console(width=120)


@dataclass(frozen=True)
class Crowd:
    """A database full of contacts, and who asks: one who sees all, one who sees only their own."""

    contacts: list[Contact]
    service: ServiceUnderTest
    people: dict[str, Person]
    stub: Any

    def sign_in(self, who: str) -> Metadata:
        """A token that lasts ten minutes: less than it takes to make a million contacts."""
        return self.service.limited(self.people[who], "*").metadata

    async def milliseconds(self, query: str, metadata: Metadata) -> float:
        """How long one search takes."""
        began = time.perf_counter()
        await self.stub.Search(search_pb2.SearchRequest(query=query), metadata=metadata)
        return (time.perf_counter() - began) * 1000


@contextlib.asynccontextmanager
async def _crowd(
    stack: contextlib.ExitStack, postgres: EmbeddedPostgres, folder: str, count: int
) -> AsyncIterator[Crowd]:
    name, port = f"of_{count}", free_port()
    postgres.create_database(name)
    migrations.migrate(postgres.url(name), SERVICE.migrations)
    settings = {
        "database_url": postgres.url(name),
        "services": {"customer": f"127.0.0.1:{port}"},
        "keys_dir": f"{folder}/keys",
        "public_url": ISSUER,
    }
    running = RunningService(SERVICE, ServiceSettings.model_validate(settings), roles=())
    await running.database.open()
    under_test = ServiceUnderTest(running, "127.0.0.1:1")
    await under_test.prepare()
    everybody = await under_test.person("*")
    teams = [await under_test.team() for _ in range(_TEAMS)]
    own = await under_test.person(("customer.*", "OWN"), team=teams[0])
    owners = [(own.id, teams[0])] + [(uuid7(), teams[n % _TEAMS]) for n in range(1, _OWNERS)]
    contacts = await _fill(running, owners, count)
    await running.database.close()
    with psycopg.connect(postgres.url(name), autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
    start(stack, "benchmarks.pair", json.dumps(settings))
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        stub: Any = search_pb2_grpc.SearchServiceStub(channel)
        yield Crowd(contacts, under_test, {"everybody": everybody, "own": own}, stub)


async def _fill(
    running: RunningService, owners: list[tuple[UUID, UUID]], count: int
) -> list[Contact]:
    """Stores the contacts with COPY, and the index as an import does; answers some of them to ask for."""
    people, kept, began = People().some(count, owners), [], time.perf_counter()
    while some := list(islice(people, _AT_ONCE)):
        async with running.database.transaction() as tx:
            call = new_call(running.home, service_principal("customer"), tx)
            rows = [CONTACTS.codec.to_row(contact) for contact in some]
            await tx.copy(CONTACTS._copy, map(CONTACTS._in_order, rows))  # noqa: SLF001 - without events
            await put_new(call, CONTACTS, some)
        kept += some[:: max(1, count // _SMALL)]
    console.print(f"{count:,} contacts in {time.perf_counter() - began:.0f} s")
    return kept


def _exact(contact: Contact, _chance: random.Random, number: int) -> str:
    return (
        contact.emails[0].address,
        f"030 {contact.phones[0].number[5:]}",
        contact.external_id or "",
        contact.display_name or "",
    )[number % 4]


def _prefix(contact: Contact, chance: random.Random, number: int) -> str:
    name, mail = contact.display_name or "", contact.emails[0].address
    given, family = contact.given_name or "", contact.family_name or ""
    return (
        name[: max(3, len(name) - chance.randrange(1, 4))],
        f"{given} {family[:3]}",
        f"{family} {given[:2]}",
        mail[: max(6, len(mail) - chance.randrange(4, 8))],
        f"030 {contact.phones[0].number[5:9]}",
    )[number % 5]


def _typo(contact: Contact, chance: random.Random, _number: int) -> str:
    """A letter of the family name is wrong, missing, doubled or changed over with the next."""
    given, family = contact.given_name or "", contact.family_name or ""
    at = chance.randrange(max(1, len(family) - 1))
    slip = chance.choice(
        (
            family[at : at + 2][::-1],
            "",
            family[at] * 2 + family[at + 1 : at + 2],
            "x" + family[at + 1 : at + 2],
        )
    )
    return f"{given} {family[:at]}{slip}{family[at + 2 :]}"


_KINDS = {"exact": _exact, "prefix": _prefix, "typo": _typo}


def _queries(crowd: Crowd, kind: str) -> Iterator[str]:
    chance = random.Random(SEED)  # noqa: S311 - nothing secret
    for number in range(_ASKED):
        yield _KINDS[kind](chance.choice(crowd.contacts), chance, number)


def _p(durations: list[float], share: float) -> float:
    return sorted(durations)[min(len(durations) - 1, int(len(durations) * share))]


async def measure(count: int) -> None:
    """Prints what was measured."""
    table = Table(
        "query",
        "who",
        *(f"{s} {p}" for s in ("small", "large") for p in ("p50", "p95")),
        "p95 ratio",
    )
    with TemporaryDirectory(prefix="crm-bench-") as folder, contextlib.ExitStack() as stack:
        postgres = EmbeddedPostgres(Path(folder))
        postgres.start()
        stack.callback(postgres.stop)
        create_service_keys(Path(folder) / "keys", [SERVICE.name])
        async with (
            _crowd(stack, postgres, folder, _SMALL) as small,
            _crowd(stack, postgres, folder, count) as large,
        ):
            for who in ("everybody", "own"):
                for kind in _KINDS:
                    pairs = zip(_queries(small, kind), _queries(large, kind), strict=True)
                    _row(table, kind, who, await _ask(small, large, who, pairs))
                for query in _WORST:
                    pairs = ((query, query) for _ in range(_ASKED_WORST))
                    _row(table, query[:20], who, await _ask(small, large, who, pairs))
    console.print(table)


async def _ask(
    small: Crowd, large: Crowd, who: str, pairs: Iterable[tuple[str, str]]
) -> list[tuple[float, float]]:
    """Milliseconds of each search of the one and of the other crowd, without the first ones."""
    first, second = small.sign_in(who), large.sign_in(who)
    times = [
        (await small.milliseconds(one, first), await large.milliseconds(other, second))
        for one, other in pairs
    ]
    return times[len(times) // 10 :]


def _row(table: Table, kind: str, who: str, times: list[tuple[float, float]]) -> None:
    ours, others = [one for one, _ in times], [other for _, other in times]
    figures = [_p(ours, 0.5), _p(ours, 0.95), _p(others, 0.5), _p(others, 0.95)]
    table.add_row(kind, who, *(f"{f:.1f}" for f in figures), f"{figures[3] / figures[1]:.2f}")


if __name__ == "__main__":
    uvloop.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else _LARGE))
