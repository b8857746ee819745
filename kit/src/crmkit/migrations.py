"""Database migrations: Alembic, one history per service, one migrator at a time."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import psycopg
import sqlalchemy as sa
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory

from crmkit.errors import FailedPrecondition

_LOCK = 0x43524D  # "CRM"; one migrator per database


def _script(folder: Path) -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(folder))
    config.set_main_option("version_locations", str(folder))
    config.set_main_option("path_separator", "newline")
    return ScriptDirectory.from_config(config)


def _engine(url: str) -> sa.Engine:
    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(url)

    return sa.create_engine("postgresql+psycopg://", creator=connect, poolclass=sa.NullPool)


def head(folder: Path) -> str:
    """The newest migration's id."""
    return _script(folder).get_current_head() or ""


def current(url: str) -> str:
    """The migration that a database is at; empty for an empty database."""
    engine = _engine(url)
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision() or ""


def migrate(url: str, folder: Path, target: str = "head") -> None:
    """Brings a database to a migration: `head`, an id, or `base` to take everything back.

    Each migration is a transaction of its own, so that its locks end with it. Waits while another process
    migrates the same database. Statements wait at most 5 s for a lock.
    """
    script = _script(folder)

    def steps(revision: Any, _context: Any) -> Any:
        if target == "base":
            return script._downgrade_revs("base", revision)  # noqa: SLF001 - as alembic's own env.py
        return script._upgrade_revs(target, revision)  # noqa: SLF001

    engine = _engine(url)
    with engine.connect() as connection:
        connection.execute(sa.text("SELECT pg_advisory_lock(:key)"), {"key": _LOCK})
        connection.execute(sa.text("SET lock_timeout = '5s'"))
        connection.commit()
        try:
            options = {"fn": steps, "transaction_per_migration": True}
            context = MigrationContext.configure(connection, opts=options)
            with Operations.context(context), context.begin_transaction():
                context.run_migrations()
            connection.commit()
        finally:
            with suppress(sa.exc.SQLAlchemyError):
                connection.rollback()
                connection.execute(sa.text("SELECT pg_advisory_unlock(:key)"), {"key": _LOCK})
                connection.commit()


def require_current(url: str, folder: Path) -> None:
    """Refuses to work on a schema older than the code.

    Raises:
        FailedPrecondition: `SCHEMA_OUTDATED`, naming the migrations that are missing.
    """
    script = _script(folder)
    at = current(url)
    known = {revision.revision for revision in script.walk_revisions()}
    if at and at not in known:
        return  # a newer schema: old code runs on it
    missing = [r.revision for r in script.iterate_revisions("head", at or "base")]
    if missing:
        names = ", ".join(reversed(missing))
        msg = f"The database lacks the migrations {names}; run `crm migrate` first."
        raise FailedPrecondition(msg, reason="SCHEMA_OUTDATED")
