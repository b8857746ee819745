"""`crm parked`: the events that a service could not apply and has put aside.

`list` needs the service's database only; `replay` needs the service's own settings, because it does
what the service does.
"""

import asyncio
import getpass
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Annotated, Any, TypeVar

import psycopg
import typer

from crm_cli.local_settings import local_settings
from crm_cli.operations import ServiceName, database_settings, fail, require_known
from crm_cli.services import service
from crmkit.db import Database
from crmkit.errors import Failure
from crmkit.feed import parking
from crmkit.runner import RunningService
from crmkit.settings import SettingsError, load

T = TypeVar("T")

app = typer.Typer(
    no_args_is_help=True,
    help="Events that a service could not apply: list, replay, skip. Finds the service by its CRM_"
    " settings, else in CRM_DATA_DIR (`data`), where `crm up` runs.",
)

Source = Annotated[str, typer.Argument(help="The service whose events they are.")]


@app.command("list")
def list_(name: ServiceName, source: Source = "") -> None:
    """Prints what is parked: source and number, tries, what happened to which record, the error."""
    for parked in _run(_list(_database(name), source)):
        event = parked.event
        first = f"{parked.source} {event.feed_seq}"
        print(first, parked.attempts, event.routing_key, event.subject, parked.error, sep="  ")


@app.command()
def replay(
    name: ServiceName,
    source: Source,
    subject: Annotated[str, typer.Option(help="Only those of one record: accounts/{uuid}.")] = "",
) -> None:
    """Applies parked events again, in order, once their cause is mended."""
    result = _run(_replay(name, source, subject))
    print(f"{result.applied} applied, {result.parked} still parked")
    raise typer.Exit(1 if result.parked else 0)


@app.command()
def skip(
    name: ServiceName,
    source: Source,
    number: Annotated[int, typer.Argument(help="The event's number, as `list` prints it.")],
    reason: Annotated[str, typer.Option(help="Why it may be left out; goes to the log.")],
) -> None:
    """Gives up on one parked event; later ones of its record wait for `replay`."""
    _run(_skip(_database(name), source, number, reason))


def _run(work: Coroutine[Any, Any, T]) -> T:
    try:
        return asyncio.run(work)
    except (SettingsError, Failure, psycopg.Error, OSError) as error:
        raise fail(error) from error


async def _list(database: Database, source: str) -> list[parking.ParkedEvent]:
    async with _open(database):
        return await parking.list_parked(database, source)


async def _replay(name: str, source: str, subject: str) -> parking.ReplayResult:
    """As a process of the service that serves nothing, relays nothing and consumes nothing else."""
    require_known([name])
    declared = service(name)
    if source not in declared.sources():
        msg = f"{name} reads the events of {', '.join(sorted(declared.sources()))} only."
        raise fail(msg)
    running = RunningService(declared, load(declared.settings, **local_settings()), roles=())
    await running.start()
    try:
        return await parking.replay(running.database, running.consumer(source), subject)
    finally:
        await running.stop()


async def _skip(database: Database, source: str, number: int, reason: str) -> None:
    async with _open(database):
        await parking.skip(database, source, number, reason=reason, actor=getpass.getuser())


@asynccontextmanager
async def _open(database: Database) -> AsyncIterator[None]:
    await database.open()
    try:
        yield
    finally:
        await database.close()


def _database(name: str) -> Database:
    require_known([name])
    try:
        return Database(database_settings().url_of(name), max_connections=2)
    except SettingsError as error:
        raise fail(error) from error
