"""Rights as a process keeps them in memory, read from a real PostgreSQL."""

import asyncio
from collections.abc import Callable
from typing import Any

from sqlalchemy.schema import CreateTable

from crmkit.db import Database
from crmkit.rights import Rights
from crmkit.schema import (
    KNOWN_ROLE,
    KNOWN_SETTING,
    KNOWN_TEAM,
    KNOWN_USER,
    REVOKED_SESSION,
    SIGNING_KEY,
)
from crmkit.statements import Statement, compile_statement

_TABLES = (KNOWN_USER, KNOWN_TEAM, KNOWN_ROLE, KNOWN_SETTING, REVOKED_SESSION, SIGNING_KEY)


async def test_readings_at_the_same_time_come_one_after_the_other(
    new_database: Callable[[str | None], str],
) -> None:
    """INVARIANT: an older reading does not end later, and bring back rights that were taken."""

    class Noting(Database):
        """The database, and what was read from it in which order."""

        async def fetch_all(self, statement: Statement, *parameters: Any) -> Any:
            read.append(statement.sql)
            return await super().fetch_all(statement, *parameters)

    read: list[str] = []
    database = Noting(new_database(None))
    await database.open()
    for table in _TABLES:
        await database.execute(compile_statement(CreateTable(table)))
    rights = Rights(database)
    await asyncio.gather(rights.reload(), rights.reload())
    await database.close()
    once = read[: len(read) // 2]
    assert len(set(once)) == len(once)
    assert read == once * 2
