"""One hash over all facts: equal facts have equal hashes, whatever way they came about."""

import hashlib

from crmkit.db import Database
from reporting.storage.facts import FACTS

_ROWS_AT_A_TIME = 5000


async def facts_hash(database: Database) -> str:
    """SHA-256 over every fact, of one moment: tables by name, rows by key, streamed."""
    digest = hashlib.sha256()
    async with database.connection() as connection, connection.transaction():
        await connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        # In the order in which a rebuild swaps them, or the two would wait for each other. The moment
        # that is seen begins after that: a swap that was waited for is part of it.
        tables = ", ".join(table.name for table in FACTS.tables.values())
        await connection.execute(f"LOCK TABLE {tables} IN ACCESS SHARE MODE")
        for table in sorted(FACTS.tables.values(), key=lambda table: table.name):
            digest.update(f"{table.name}\n".encode())
            key = ", ".join(column.name for column in table.primary_key)
            row = ", ".join(sorted(column.name for column in table.c))
            select = f"SELECT ROW({row})::text FROM {table.name} ORDER BY {key}"  # noqa: S608 - our own names
            async with connection.cursor(name="facts") as cursor:
                cursor.itersize = _ROWS_AT_A_TIME
                await cursor.execute(select)
                async for (text,) in cursor:
                    digest.update(f"{text}\n".encode())
    return digest.hexdigest()
