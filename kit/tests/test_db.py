"""Transactions: what a unit of work may rely on, however its statements travel."""

from collections.abc import AsyncIterator, Callable
from typing import Any

import psycopg
import pytest
import pytest_asyncio
import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.db import Database
from crmkit.statements import TEXT, compile_statement, upsert

_CREATE = compile_statement(sa.text("CREATE TABLE word (id serial PRIMARY KEY, text text UNIQUE)"))
_PUT = compile_statement(sa.text("INSERT INTO word (text) VALUES (:text)"))
_SHOUT = compile_statement(sa.text("UPDATE word SET text = upper(text) || '!'"))
_ALL = compile_statement(sa.text("SELECT text FROM word ORDER BY id"))


def _table(name: str, *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(
        name,
        sa.MetaData(),
        sa.Column("id", sa.Integer, primary_key=True),
        sa.Column("text", TEXT),
        sa.Column("said", JSONB),
        sa.Column("first", TEXT),
        *columns,
    )


_KNOWN, _LISTED = _table("known"), _table("listed", sa.Column("tags", sa.ARRAY(TEXT)))


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


@pytest.mark.parametrize("table", [_KNOWN, _LISTED], ids=["at once", "one by one"])
async def test_of_rows_written_again_the_last_counts(database: Database, table: sa.Table) -> None:
    """INVARIANT: rows that are written or replaced in one go end as if each had been by itself."""
    await database.execute(compile_statement(sa.schema.CreateTable(table)))
    put = upsert(table, ["text", "said", "tags"] if "tags" in table.c else ["text", "said"])
    tags: dict[str, list[str]] = {"tags": ["x", "y"]} if "tags" in table.c else {}
    written = [(1, "a"), (2, "b"), (1, "c"), (3, None), (1, "d")]
    async with database.transaction() as tx:
        await tx.execute(put, {"id": 2, "text": "old", "said": Jsonb([]), "first": "kept", **tags})
        assert len(await tx.fetch_all(compile_statement(sa.select(table.c.id)))) == 1
        for id_, text in written:
            row = {"id": id_, "text": text, "said": Jsonb({"by": text}), "first": "new", **tags}
            await tx.execute(put, row)
    rows = await database.fetch_all(
        compile_statement(
            sa.select(table.c.id, table.c.text, table.c.said, table.c.first).order_by(table.c.id)
        )
    )
    assert rows == [
        (1, "d", {"by": "d"}, "new"),
        (2, "b", {"by": "b"}, "kept"),
        (3, None, {"by": None}, "new"),
    ]


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
