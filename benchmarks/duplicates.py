"""`python -m benchmarks.duplicates [COUNT …]`: a scan for duplicates, how it grows, and what it finds.

Made-up contacts, a tenth of them entered twice, in databases of their own; what is measured is the whole job
that `POST /v1/duplicateScans` starts.
"""

import asyncio
import contextlib
import itertools
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import sqlalchemy as sa
import uvloop
from rich.console import Console
from rich.table import Table

from benchmarks.people import people
from crmkit.access import service_principal
from crmkit.call import Call, new_call
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ids import uuid7
from crmkit.migrations import migrate
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from crmkit.settings import ServiceSettings
from crmkit.statements import compile_statement
from crmkit.testing.harness import ISSUER
from customer.domain.values import Address, EmailAddress, PhoneNumber
from customer.service import SERVICE
from customer.storage.contact import CONTACTS
from customer.storage.duplicate import duplicate_sets
from customer.storage.duplicate_scan import find_scan, insert_scan, named
from customer.usecases.scan_for_duplicates import scan_for_duplicates

_SIZES = (25_000, 50_000, 100_000)
_AT_ONCE = 1_000
_ANALYZE = compile_statement(sa.text("ANALYZE"))
_SETS = compile_statement(duplicate_sets.select())


@dataclass(frozen=True)
class Scan:
    """What a scan took, and how right it was.

    Attributes:
        processor_seconds: Of this process and of PostgreSQL; elapsed time depends on what else runs.
    """

    seconds: float
    processor_seconds: float
    precision: float
    recall: float


async def measure(url: str, keys: Path, count: int, postmaster: int) -> Scan:
    """A scan of so many contacts."""
    address = {"customer": f"127.0.0.1:{free_port()}"}
    settings = {
        "database_url": url,
        "services": address,
        "keys_dir": str(keys),
        "public_url": ISSUER,
    }
    running = RunningService(SERVICE, ServiceSettings.model_validate(settings), roles=())
    await running.start()
    try:
        home = running.home
        true = await _fill(running, count)
        await running.database.execute(_ANALYZE)  # as autovacuum does meanwhile
        began, processor = time.perf_counter(), _processor_seconds(postmaster)
        async with home.database.transaction() as tx:
            call = new_call(home, service_principal("customer"), tx)
            scan = uuid7()
            await insert_scan(tx, scan, "contacts", None, call.now)
        async with home.database.transaction() as tx:
            await scan_for_duplicates(
                new_call(home, service_principal("customer"), tx), {"scan": str(scan)}
            )
        seconds = time.perf_counter() - began
        processor = _processor_seconds(postmaster) - processor
        row = await find_scan(home.database, scan)
        assert row is not None
        assert named(row)["state"] == "SUCCEEDED", named(row)
        found = await _found(running)
        right = len(found & true)
        return Scan(seconds, processor, right / len(found), right / len(true))
    finally:
        await running.stop()


def _processor_seconds(postmaster: int) -> float:
    """What this process and the children of PostgreSQL have used so far."""
    ticks = 0
    for entry in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            if int(fields[1]) == postmaster:
                ticks += int(fields[11]) + int(fields[12])
    return time.process_time() + ticks / os.sysconf("SC_CLK_TCK")


async def _fill(running: RunningService, count: int) -> set[frozenset[str]]:
    """Stores made-up contacts; the pairs that are the same person."""
    whose: dict[int, list[str]] = {}
    for some in _batches(people(count)):
        async with running.database.transaction() as tx:
            call = new_call(running.home, service_principal("customer"), tx)
            entities = [_contact(call, values) for values, _ in some]
            await CONTACTS.prepare_many(call, entities)
            await CONTACTS.insert_many(call, entities)
        for entity, (_, number) in zip(entities, some, strict=True):
            whose.setdefault(number, []).append(f"contacts/{entity.id}")
    return {frozenset(names) for names in whose.values() if len(names) > 1}


def _batches(rows: Iterator[Any]) -> Iterator[Sequence[Any]]:
    while some := list(itertools.islice(rows, _AT_ONCE)):
        yield some


def _contact(call: Call, values: dict[str, Any]) -> Any:
    address = Address(
        address_lines=[" ".join(filter(None, (values["number"], values["street"])))],
        locality=values["locality"] or "",
        postal_code=values["postal_code"] or "",
    )
    known = {name: values[name] for name in ("given_name", "family_name", "birthday")}
    emails = [EmailAddress(values["email"])] if values.get("email") else []
    phones = [PhoneNumber(values["phone"])] if values.get("phone") else []
    return CONTACTS.new(call, {**known, "emails": emails, "phones": phones, "addresses": [address]})


async def _found(running: RunningService) -> set[frozenset[str]]:
    rows = await running.database.fetch_all(_SETS)
    columns = [column.name for column in duplicate_sets.columns]
    pairs = [pair for row in rows for pair in dict(zip(columns, row, strict=True))["pairs"]]
    return {frozenset((pair["first"], pair["second"])) for pair in pairs}


async def main(sizes: Sequence[int]) -> None:
    """Measures each size, smallest first, and prints how the time grows."""
    columns = ("contacts", "seconds", "of processors", "growth", "precision", "recall")
    table = Table(*columns)
    with TemporaryDirectory(prefix="crm-bench-") as folder:
        keys, postgres = Path(folder) / "keys", EmbeddedPostgres(Path(folder))
        create_service_keys(keys, [SERVICE.name])
        await asyncio.to_thread(postgres.start)
        try:
            before: float | None = None
            for count in sizes:
                name = f"contacts_{count}"
                await asyncio.to_thread(postgres.create_database, name)
                await asyncio.to_thread(migrate, postgres.url(name), SERVICE.migrations)
                scan = await measure(postgres.url(name), keys, count, _pid(Path(folder)))
                # 1.0 is linear: twice the contacts, twice the work.
                work = scan.processor_seconds / count
                growth = work / before if before else 1.0
                before = work
                figures = (scan.seconds, scan.processor_seconds, growth)
                rights = (f"{scan.precision:.4f}", f"{scan.recall:.4f}")
                table.add_row(f"{count:,}", *(f"{figure:.2f}" for figure in figures), *rights)
        finally:
            await asyncio.to_thread(postgres.stop)
    Console().print(table)


def _pid(folder: Path) -> int:
    return int(next(folder.rglob("postmaster.pid")).read_text().split()[0])


if __name__ == "__main__":
    uvloop.run(main([int(text) for text in sys.argv[1:]] or _SIZES))
