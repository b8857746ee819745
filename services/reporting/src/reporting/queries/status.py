"""How far the projection has read, from the cursors and the history of rebuilds."""

from datetime import datetime

import sqlalchemy as sa

from crmkit.db import Database
from crmkit.schema import CONSUMER_CURSOR
from crmkit.statements import compile_statement
from reporting.storage.facts import rebuild_history

_READ_APPLIED = compile_statement(
    sa.select(CONSUMER_CURSOR.c.source, CONSUMER_CURSOR.c.applied_seq)
)
_READ_LAST_REBUILD = compile_statement(sa.select(sa.func.max(rebuild_history.c.rebuild_time)))


async def applied_sequences(database: Database) -> dict[str, int]:
    """The last event applied of each source."""
    return dict(await database.fetch_all(_READ_APPLIED))


async def last_rebuild(database: Database) -> datetime | None:
    """When the facts were last built anew; None if never."""
    row = await database.fetch_one(_READ_LAST_REBUILD)
    return row[0] if row else None
