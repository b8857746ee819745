"""Transactions: what a unit of work may rely on, however its statements travel."""

from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import psycopg
import pytest
import pytest_asyncio
import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.db import Database
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, upsert

_CREATE = compile_statement(sa.text("CREATE TABLE word (id serial PRIMARY KEY, text text UNIQUE)"))
_PUT = compile_statement(sa.text("INSERT INTO word (text) VALUES (:text)"))
_SHOUT = compile_statement(sa.text("UPDATE word SET text = upper(text) || '!'"))
_ALL = compile_statement(sa.text("SELECT text FROM word ORDER BY id"))


_KNOWN = sa.Table(
    "known",
    sa.MetaData(),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("part", TEXT, primary_key=True),
    sa.Column("text", TEXT),
    sa.Column("said", JSONB),
    sa.Column("tags", sa.ARRAY(TEXT)),
    sa.Column("time", TIMESTAMP),
    sa.Column("amount", sa.Numeric(19, 4)),
    sa.Column("first", sa.Boolean),
)


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


async def test_of_rows_written_again_the_last_counts(database: Database) -> None:
    """INVARIANT: rows that are written or replaced in one go end as if each had been by itself."""
    await database.execute(compile_statement(sa.schema.CreateTable(_KNOWN)))
    put = upsert(_KNOWN, [c.name for c in _KNOWN.c if c.name not in {"id", "part", "first"}])

    def row(number: int, text: str | None, *, first: bool = False) -> dict[str, Any]:
        amount, time = (
            Decimal("123456789012345.0001"),
            datetime(2026, 2, 28, 1, 2, 3, 4, tzinfo=UTC),
        )
        return {
            "id": UUID(int=number),
            "part": "a",
            "text": text,
            "said": Jsonb({"by": [text]}),
            "tags": [text, "ü{,}"],
            "time": time if text else None,
            "amount": amount if text else None,
            "first": first,
        }

    written = [(1, "a"), (2, 'b\n"'), (1, "c"), (3, None), (1, "d")]
    async with database.transaction() as tx:
        await tx.execute(put, row(2, "old", first=True))
        assert len(await tx.fetch_all(compile_statement(sa.select(_KNOWN.c.id)))) == 1
        for number, text in written:
            await tx.execute(put, row(number, text))
    rows = await database.fetch_all(compile_statement(sa.select(_KNOWN).order_by(_KNOWN.c.id)))
    expected = [row(1, "d"), row(2, 'b\n"', first=True), row(3, None)]
    assert rows == [
        tuple(v.obj if isinstance(v, Jsonb) else v for v in one.values()) for one in expected
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
