"""Transactions: what a unit of work may rely on, however its statements travel."""

from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
import pytest_asyncio
import sqlalchemy as sa

from crmkit.db import Database
from crmkit.statements import compile_statement

_CREATE = compile_statement(sa.text("CREATE TABLE word (id serial PRIMARY KEY, text text UNIQUE)"))
_PUT = compile_statement(sa.text("INSERT INTO word (text) VALUES (:text)"))
_SHOUT = compile_statement(sa.text("UPDATE word SET text = upper(text) || '!'"))
_ALL = compile_statement(sa.text("SELECT text FROM word ORDER BY id"))


@pytest_asyncio.fixture
async def database(new_database: Callable[[str | None], str]) -> AsyncIterator[Database]:
    opened = Database(new_database(None))
    await opened.open()
    await opened.execute(_CREATE)
    yield opened
    await opened.close()


async def words(database: Database) -> list[str]:
    return [row[0] for row in await database.fetch_all(_ALL)]


async def test_statements_take_effect_in_their_order(database: Database) -> None:
    """INVARIANT: a statement that is held back to travel with its like is never overtaken.

    Broken if a fetch, another statement or the commit went ahead of it.
    """
    async with database.transaction() as tx:
        await tx.execute(_PUT, {"text": "a"})
        await tx.execute(_PUT, {"text": "b"})
        await tx.execute(_SHOUT)
        await tx.execute(_PUT, {"text": "c"})
        assert [row[0] for row in await tx.fetch_all(_ALL)] == ["A!", "B!", "c"]
        await tx.execute(_PUT, {"text": "d"})
    assert await words(database) == ["A!", "B!", "c", "d"]


async def test_many_repeats_of_a_statement_all_count(database: Database) -> None:
    """INVARIANT: as many rows as executions, also past what travels at once."""
    async with database.transaction() as tx:
        for number in range(2500):
            await tx.execute(_PUT, {"text": str(number)})
    assert await words(database) == [str(number) for number in range(2500)]


async def test_a_statement_that_fails_leaves_nothing(database: Database) -> None:
    """INVARIANT: a failure shows at the commit at the latest, and then nothing has happened."""

    async def put(*texts: str) -> None:
        async with database.transaction() as tx:
            for text in texts:
                await tx.execute(_PUT, {"text": text})

    with pytest.raises(psycopg.errors.UniqueViolation):
        await put("a", "b", "a", "c")
    assert await words(database) == []


async def test_a_connection_that_is_still_in_pipeline_mode_is_closed(database: Database) -> None:
    """INVARIANT: a connection is given back as it was got, or not at all."""
    async with database.connection() as connection:
        await connection.pipeline().__aenter__()
    assert connection.closed
