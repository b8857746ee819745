"""What an operator of a distributed system runs: `crm keys`, `crm migrate`, `crm serve`, `crm events`.

They read the same CRM_ settings as the services; only `crm serve` needs all of them.
"""

import asyncio
from pathlib import Path
from typing import Annotated

import psycopg
import typer
from pydantic import Field
from rich.console import Console

from crm_cli.local_settings import local_settings
from crm_cli.services import NAMES, service
from crmkit import migrations, runner
from crmkit.db import Database
from crmkit.errors import Failure
from crmkit.feed.events import Event
from crmkit.feed.feed import Feed
from crmkit.postgres_databases import create_database
from crmkit.service_tokens import create_service_keys
from crmkit.settings import Addresses, ServiceSettings, SettingsError, load

_PAGE = 500
_errors = Console(stderr=True, highlight=False, soft_wrap=True)

ServiceName = Annotated[str, typer.Argument(metavar="SERVICE", help=", ".join(NAMES))]


class DatabaseSettings(ServiceSettings):
    """The settings of commands that only need databases; the others may be there."""

    services: Addresses = Field(default_factory=dict)
    keys_dir: Path = Path()


def database_settings() -> DatabaseSettings:
    """From the environment, else from the folder of the system that `crm up` runs.

    Raises:
        SettingsError: Neither says where the databases are, or a setting is unknown.
    """
    return load(DatabaseSettings, **local_settings())


def fail(message: object) -> typer.Exit:
    """Says what is wrong; raise what it answers."""
    _errors.print(str(message), style="red", markup=False)
    return typer.Exit(1)


def require_known(names: list[str]) -> None:
    """Ends the command if one of these is no service."""
    for name in names:
        if name not in NAMES:
            msg = f"There is no service {name}; the services are {', '.join(NAMES)}."
            raise fail(msg)


def keys(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the services read them.")],
) -> None:
    """Makes the keys by which services know one another; keeps those that are there."""
    try:
        create_service_keys(folder, list(NAMES))
    except OSError as error:
        raise fail(error) from error
    print(f"{folder}: keys of {', '.join(NAMES)}")


def migrate(
    services: Annotated[
        list[str], typer.Argument(metavar="[SERVICE]...", help="By default every service.")
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Creates the databases that are missing and brings each to its service's newest migration.

    CRM_DATABASE_URL says where; `{service}` in it stands for the service's name.
    """
    require_known(services)
    try:
        settings = load(DatabaseSettings)
        for name in services or NAMES:
            _migrate_one(settings, name)
    except (SettingsError, Failure, psycopg.Error) as error:
        raise fail(error) from error


def _migrate_one(settings: DatabaseSettings, name: str) -> None:
    url = settings.url_of(name)
    if not _exists(url):
        create_database(settings.url_of("postgres"), name)
    folder = service(name).migrations
    before = migrations.current(url)
    migrations.migrate(url, folder)
    after = migrations.current(url)
    print(f"{name}: {'is at' if after == before else 'migrated to'} {after}")


def _exists(url: str) -> bool:
    """Whether there is such a database; a role that may not create any must not try."""
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError as error:
        if "does not exist" in str(error):
            return False
        raise
    return True


def serve(
    name: ServiceName,
    roles: Annotated[
        list[str],
        typer.Option("--role", help=f"Only this part of its work: {', '.join(runner.ROLES)}."),
    ] = [],  # noqa: B006 - typer copies it
) -> None:
    """Runs one service until SIGTERM or Ctrl-C; several processes of a service share the work."""
    require_known([name])
    unknown = sorted(set(roles) - set(runner.ROLES))
    if unknown:
        msg = f"--role: {', '.join(unknown)} is none of {', '.join(runner.ROLES)}"
        raise fail(msg)
    runner.main(service(name), roles or runner.ROLES)


def events(
    name: ServiceName,
    after: Annotated[int, typer.Option(min=0, help="Number of the last event seen.")] = 0,
    count: Annotated[int, typer.Option(min=1, help="How many at most.")] = _PAGE,
    *,
    follow: Annotated[bool, typer.Option(help="Waits for more until Ctrl-C.")] = False,
) -> None:
    """Prints a service's events, oldest first: number, time, what happened, to which record, by whom.

    Finds the database by CRM_DATABASE_URL, else in CRM_DATA_DIR (`data`), where `crm up` keeps it.
    """
    require_known([name])
    try:
        database = Database(database_settings().url_of(name), max_connections=2)
        asyncio.run(_print_events(database, after, count, follow=follow))
    except (SettingsError, Failure, psycopg.Error) as error:
        raise fail(error) from error


async def _print_events(database: Database, after: int, count: int, *, follow: bool) -> None:
    await database.open()
    feed = Feed(database)
    try:
        while count or follow:
            page = await feed.read(after, min(count, _PAGE) or _PAGE)
            for event in map(Event, page):
                line = (event.feed_seq, event.time.isoformat(), event.routing_key, event.subject)
                print(*line, event.actor, sep="  ")
                after = event.feed_seq
            count = max(0, count - len(page))
            if not page:
                if not follow:
                    return
                await feed.wait_beyond(after)
    finally:
        await database.close()
