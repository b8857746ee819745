"""A second set of facts beside the live ones, in a schema of its own, and the swap of the two.

The copy has consumer tables too, so that the kit's consumers can fill it as they fill the live
facts: a connection whose search path begins with the schema sees the copy under the usual names.
"""

from collections.abc import Set as AbstractSet
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from psycopg import sql
from sqlalchemy.schema import CreateIndex, CreateTable

from crmkit.db import Database, Transaction
from crmkit.feed.cursor import Cursor
from crmkit.ids import uuid7
from crmkit.schema import CONSUMER_CURSOR, PARKED_EVENT
from crmkit.statements import TIMESTAMP, Row, Statement, compile_statement
from reporting.storage.facts import FACTS, rebuild_history

_PREFIX = "facts_build_"
_TABLES = list(FACTS.tables.values())
_LEFT_BEHIND = "SELECT nspname FROM pg_namespace WHERE starts_with(nspname, %s)"
_CURSOR = "source, feed_id, applied_seq, applied_chain"
_LOCK_CURSORS = f"SELECT {_CURSOR} FROM consumer_cursor ORDER BY source FOR UPDATE"  # noqa: S608 - our own names
_NOTE = compile_statement(
    rebuild_history.insert().values(rebuild_time=sa.bindparam("rebuild_time", type_=TIMESTAMP))
)
_PUT_CURSOR = """
    INSERT INTO consumer_cursor (source, feed_id, applied_seq, applied_chain, update_time)
    VALUES (%(source)s, %(feed_id)s, %(seq)s, %(chain)s, %(now)s)
    ON CONFLICT (source) DO UPDATE SET feed_id = excluded.feed_id,
        applied_seq = excluded.applied_seq, applied_chain = excluded.applied_chain
"""
_FORGET_CURSORS = "DELETE FROM consumer_cursor WHERE source = ANY(%(sources)s)"
_FORGET_PARKED = "DELETE FROM parked_event WHERE source = ANY(%(sources)s)"
# What lies behind the cursor is read again, and parked again if need be.
_TAKE_PARKED = """
    INSERT INTO parked_event SELECT parked.* FROM {schema}.parked_event AS parked
    JOIN consumer_cursor USING (source) WHERE parked.feed_seq <= consumer_cursor.applied_seq
"""


async def create(database: Database) -> str:
    """Drops what interrupted builds left, and makes empty tables; returns the schema's name."""
    schema = f"{_PREFIX}{uuid7().hex}"
    async with database.connection() as connection, connection.transaction():
        found = await connection.execute(_LEFT_BEHIND, [_PREFIX])
        for (name,) in await found.fetchall():
            await connection.execute(sql.SQL("DROP SCHEMA {} CASCADE").format(sql.Identifier(name)))
        await connection.execute(f"CREATE SCHEMA {schema}")
        await connection.execute(f"SET LOCAL search_path = {schema}")
        for table in (*_TABLES, CONSUMER_CURSOR, PARKED_EVENT):
            await connection.execute(compile_statement(CreateTable(table)).sql)
            for index in table.indexes:
                await connection.execute(compile_statement(CreateIndex(index)).sql)
    return schema


async def settle(database: Database) -> None:
    """Prepares filled tables for queries: statistics, and the map that index-only scans need."""
    async with database.connection() as connection:
        await connection.execute("SET statement_timeout = 0")
        for table in _TABLES:
            await connection.execute(f"VACUUM (ANALYZE) {table.name}")


async def swap(tx: Transaction, schema: str, now: datetime, diverged: AbstractSet[str]) -> None:
    """Puts the built facts in the place of the live ones, with the positions they were built to.

    A source goes on from where both sets of facts were: what it applies twice changes nothing. A
    diverged source, which has another feed than before, goes on from where the new facts end;
    identity, whose events also make rights, from the beginning.
    """
    live = {row[0]: _cursor(row) for row in await tx.fetch_all(Statement(_LOCK_CURSORS, {}))}
    read_built = f"SELECT {_CURSOR} FROM {schema}.consumer_cursor"  # noqa: S608 - our own names
    built = await tx.fetch_all(Statement(read_built, {}))
    await tx.execute(Statement(_FORGET_CURSORS, {}), {"sources": list(diverged)})
    for source, *position in built:
        cursor = end = _cursor((source, *position))
        if source not in diverged:
            cursor = min(live.get(source, end), end, key=lambda each: each.seq)
        elif source == "identity":
            cursor = Cursor()
        values = {"feed_id": UUID(end.feed_id), "seq": cursor.seq, "chain": cursor.chain}
        await tx.execute(Statement(_PUT_CURSOR, {}), {"source": source, "now": now, **values})
    await tx.execute(Statement(_FORGET_PARKED, {}), {"sources": [row[0] for row in built]})
    await tx.execute(Statement(_TAKE_PARKED.format(schema=schema), {}))
    for table in _TABLES:
        await tx.execute(Statement(f"DROP TABLE public.{table.name}", {}))
        await tx.execute(Statement(f"ALTER TABLE {schema}.{table.name} SET SCHEMA public", {}))
    await tx.execute(Statement(f"DROP SCHEMA {schema} CASCADE", {}))
    await tx.execute(_NOTE, {"rebuild_time": now})


def _cursor(row: Row) -> Cursor:
    return Cursor(str(row[1]) if row[1] else "", row[2], row[3])
