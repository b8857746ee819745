"""An address or a number of a person, taken out of every text of a service, wherever it was written."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.access import service_principal
from crmkit.call import Home, new_call
from crmkit.collection import Collection
from crmkit.personal.declaration import Kept
from crmkit.personal.records import redacted, rewrite
from crmkit.personal.subject import Redactor
from crmkit.statements import Row, compile_statement

_AT_ONCE = 10_000  # rows that are looked through by one statement


def is_text(column: sa.Column[Any]) -> bool:
    """True if a column can hold what somebody has written."""
    kind = column.type.item_type if isinstance(column.type, sa.ARRAY) else column.type
    return isinstance(kind, sa.Text | JSONB)


def _as_text(column: sa.Column[Any]) -> sa.ColumnElement[str]:
    if isinstance(column.type, sa.ARRAY):
        return sa.func.array_to_string(column, "\n")
    return sa.cast(column, sa.Text) if isinstance(column.type, JSONB) else column


async def redact_records(
    home: Home,
    collection: Collection[Any],
    redactor: Redactor,
    but: frozenset[str] = frozenset(),
    themselves: Sequence[UUID] = (),
) -> None:
    """Takes the subject out of the records of a collection that quote them.

    Args:
        home: The service.
        collection: Whose records.
        redactor: What takes the subject out.
        but: Fields that stay as they are.
        themselves: Records that are the subject: they are emptied, not redacted.
    """
    table = collection.table
    columns = [column for column in table.columns if is_text(column) and column.name not in but]
    change = redacted(collection.codec, redactor, but)
    async for row in _quoting(home, table, columns, redactor):
        if row[0] in themselves:
            continue
        async with home.database.transaction() as tx:
            call = new_call(home, service_principal(home.name), tx)
            await rewrite(call, collection, row[0], change)


async def redact_rows(home: Home, kept: Kept, redactor: Redactor) -> None:
    """Takes the subject out of a table beside the records."""
    columns = [kept.table.c[name] for name in kept.columns]
    key = list(kept.table.primary_key.columns)
    async for row in _quoting(home, kept.table, columns, redactor):
        await _redact_row(home, key, columns, row, redactor)


async def _redact_row(
    home: Home,
    key: Sequence[sa.Column[Any]],
    columns: Sequence[sa.Column[Any]],
    row: Row,
    redactor: Redactor,
) -> None:
    by_key = [c == sa.literal(value, c.type) for c, value in zip(key, row, strict=False)]
    async with home.database.transaction() as tx:
        query = sa.select(*columns).where(*by_key).with_for_update()
        now = await tx.fetch_one(compile_statement(query))
        if now is None:
            return
        values, parameters = {}, {}
        for column, before in zip(columns, now, strict=True):
            after = redactor.redact(before)
            if after != before:
                name = f"new_{column.name}"
                values[column.name] = sa.bindparam(name, type_=column.type)
                parameters[name] = Jsonb(after) if isinstance(column.type, JSONB) else after
        if values:
            update = sa.update(key[0].table).where(*by_key).values(values)
            await tx.execute(compile_statement(update), parameters)


async def _quoting(
    home: Home, table: sa.Table, columns: Sequence[sa.Column[Any]], redactor: Redactor
) -> AsyncIterator[Row]:
    """The keys of rows that hold one of the texts, a part of the table after the other."""
    if not redactor.texts or not columns:
        return
    key = list(table.primary_key.columns)
    patterns = sa.literal(redactor.patterns, sa.ARRAY(sa.Text))
    quotes = sa.or_(*(_as_text(column).ilike(sa.any_(patterns)) for column in columns))
    position: Row | None = None
    while True:
        after = [] if position is None else [sa.tuple_(*key) > _tuple(key, position)]
        last = sa.select(*key).where(*after).order_by(*key).offset(_AT_ONCE - 1).limit(1)
        end = await home.database.fetch_one(compile_statement(last))
        until = [] if end is None else [sa.tuple_(*key) <= _tuple(key, end)]
        query = sa.select(*key).where(*after, *until, quotes).order_by(*key)
        for row in await home.database.fetch_all(compile_statement(query)):
            yield row
        if end is None:
            return
        position = end


def _tuple(key: Sequence[sa.Column[Any]], values: Row) -> sa.ColumnElement[Any]:
    return sa.tuple_(*(sa.literal(v, c.type) for c, v in zip(key, values, strict=True)))
