"""Migrations: up, down and up again, and afterwards exactly the tables that the code knows."""

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext

from crm_cli.services import NAMES, service
from crmkit import migrations
from crmkit.schema import PLATFORM
from crmkit.testing.postgres import TestServer


def known_tables(name: str) -> list[sa.MetaData]:
    """The metadata of a service's own tables and of the kit's."""
    declared = service(name)
    if name == "reporting":
        from reporting.storage.facts import FACTS, HISTORY  # noqa: PLC0415

        return [FACTS, HISTORY, PLATFORM]
    return [declared.collections[0].table.metadata, PLATFORM]


@pytest.mark.parametrize("name", NAMES)
def test_migrations_make_what_the_code_knows(postgres: TestServer, name: str) -> None:
    """INVARIANT: code and schema agree, and every step can be taken back."""
    folder = service(name).migrations
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
            assert compare_metadata(context, everything) == []
    finally:
        postgres.drop(url)
