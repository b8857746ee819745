"""Migrations: each is a transaction of its own."""

from pathlib import Path

import psycopg
import pytest

from crmkit import migrations
from crmkit.testing.postgres import TestServer

_MIGRATION = """
from alembic import op

revision = "{revision}"
down_revision = {before}
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("CREATE TABLE {table} (id integer)")
    op.execute("{then}")


def downgrade() -> None:
    op.execute("DROP TABLE {table}")
"""


def _write(folder: Path, revision: str, before: str, table: str, then: str) -> None:
    text = _MIGRATION.format(revision=revision, before=before, table=table, then=then)
    (folder / f"{revision}_{table}.py").write_text(text)


def _tables(url: str) -> set[str]:
    with psycopg.connect(url) as connection:
        found = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        return {name for (name,) in found} - {"alembic_version"}


def test_what_was_migrated_before_a_failure_stays_and_the_rest_comes_later(
    postgres: TestServer, tmp_path: Path
) -> None:
    """INVARIANT: the locks of one migration end with it, and none is half done."""
    _write(tmp_path, "0001", "None", "first", "SELECT 1")
    _write(tmp_path, "0002", '"0001"', "second", "SELECT 1 / 0")
    url = postgres.new_database()
    try:
        with pytest.raises(Exception, match="division by zero"):
            migrations.migrate(url, tmp_path)
        assert (migrations.current(url), _tables(url)) == ("0001", {"first"})
        _write(tmp_path, "0002", '"0001"', "second", "SELECT 1")
        migrations.migrate(url, tmp_path)
        assert (migrations.current(url), _tables(url)) == ("0002", {"first", "second"})
        migrations.migrate(url, tmp_path, "base")
        assert (migrations.current(url), _tables(url)) == ("", set())
    finally:
        postgres.drop(url)
