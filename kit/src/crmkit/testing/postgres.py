"""Real databases for tests: prepared once as a template, copied in some 30 ms for each test."""

import secrets
from collections.abc import Callable
from urllib.parse import urlsplit, urlunsplit

import psycopg
import sqlalchemy as sa
from alembic.migration import MigrationContext
from alembic.operations import Operations

from crmkit import platform_tables
from crmkit.children.migrations import create_collaborators
from crmkit.postgres_databases import create_database, drop_database


class TestServer:
    """The PostgreSQL server of a test session; other sessions may use the same one."""

    __test__ = False

    def __init__(self, server_url: str) -> None:
        """Takes the URL of any database of the server, by one who may create databases."""
        self.server_url = server_url
        self._session = secrets.token_hex(4)
        self._templates: dict[str, str] = {}
        self._databases: set[str] = set()
        self._number = 0

    def url(self, database: str) -> str:
        """The connection URL of a database."""
        return urlunsplit(urlsplit(self.server_url)._replace(path=f"/{database}"))

    def template_database(self, name: str, prepare: Callable[[str], None]) -> str:
        """Makes a template once per session; returns what `new_database` takes.

        Args:
            name: The template's name within the session, such as the service's.
            prepare: Gets the URL of the empty database, migrates it and disconnects.
        """
        if name not in self._templates:
            database = self._create(name)
            prepare(self.url(database))
            self._templates[name] = database
        return self._templates[name]

    def new_database(self, template: str | None = None) -> str:
        """Creates a database, as a copy of a template if one is given; returns its URL."""
        return self.url(self._create("test", template))

    def drop(self, url: str) -> None:
        """Drops a database that `new_database` made, ending its connections."""
        database = urlsplit(url).path.removeprefix("/")
        drop_database(self.server_url, database)
        self._databases.discard(database)

    def drop_all(self) -> None:
        """Drops whatever this session has made."""
        for database in tuple(self._databases):
            drop_database(self.server_url, database)
        self._databases.clear()
        self._templates.clear()

    def _create(self, name: str, template: str | None = None) -> str:
        self._number += 1
        database = f"{name}_{self._session}_{self._number}"
        create_database(self.server_url, database, template)
        self._databases.add(database)
        return database


def create_platform_tables(url: str) -> None:
    """Prepares an empty database with the tables that the feed needs, as services' migrations do."""
    engine = sa.create_engine(
        "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool
    )
    with engine.begin() as connection, Operations.context(MigrationContext.configure(connection)):
        platform_tables.create_first()
        create_collaborators()
