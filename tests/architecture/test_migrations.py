"""Migrations: up, down and up again, and afterwards exactly the tables that the code knows."""

from typing import Any

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from crm_cli.services import NAMES, service
from crmkit import (
    migrations,
    runner,  # noqa: F401 - with every table of the kit
)
from crmkit.schema import PLATFORM
from crmkit.testing.postgres import TestServer


def known_tables(name: str) -> list[sa.MetaData]:
    """The metadata of a service's own tables and of the kit's."""
    declared = service(name)
    if name == "reporting":
        from reporting.storage.facts import FACTS, HISTORY  # noqa: PLC0415

        return [FACTS, HISTORY, PLATFORM]
    return [declared.collections[0].table.metadata, PLATFORM]


def told(difference: Any) -> str:
    """What Alembic found, for people: `no migration makes it: column competitors.account`."""
    if isinstance(difference, list):  # of one column
        return "; ".join(f"{what} of {table}.{column}" for what, _, table, column, *_ in difference)
    action, *of = difference
    verb, kind = action.split("_", 1)
    where = {"add": "no migration makes it", "remove": "only migrations know it"}
    place = ".".join(str(getattr(part, "name", part)) for part in of if part is not None)
    return f"{where[verb]}: {kind} {place}"


@pytest.mark.parametrize("name", NAMES)
def test_migrations_make_what_the_code_knows(postgres: TestServer, name: str) -> None:
    """INVARIANT: code and schema agree, and every step can be taken back."""
    folder = service(name).migrations
    ends = sorted(migrations._script(folder).get_heads())
    if len(ends) > 1:
        pytest.fail(f"{ends} are both the last: the later one's down_revision must be {ends[-2]}")
    url = postgres.new_database()
    try:
        for target in ("head", "base", "head"):
            migrations.migrate(url, folder, target)
        assert migrations.current(url) == migrations.head(folder)
        everything = sa.MetaData()
        for metadata in known_tables(name):
            for table in metadata.tables.values():
                table.to_metadata(everything)
        engine = sa.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.NullPool
        )
        with engine.connect() as connection:
            context = MigrationContext.configure(connection, opts={"compare_type": True})
            differences = compare_metadata(context, everything)
        if differences:
            pytest.fail("\n".join(map(told, differences)))
    finally:
        postgres.drop(url)
