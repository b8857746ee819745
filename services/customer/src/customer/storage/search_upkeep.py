"""What the search index needs beside the changes of records: it is filled, cleared, and forgets words."""

from copy import copy
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.access import service_principal
from crmkit.call import Call, Home, new_call
from crmkit.collection import Collection
from crmkit.custom_values import hide
from crmkit.statements import compile_statement
from customer.storage.party import Parties
from customer.storage.search import put_again, put_changed, search_entries, search_keys

_AT_ONCE = 500
# Whoever makes a record waits as long as we wait for the words.
_WAIT = compile_statement(sa.text("SET LOCAL lock_timeout = '200ms'"))
_HOLD_WORDS = compile_statement(sa.text("LOCK TABLE search_words IN SHARE ROW EXCLUSIVE MODE"))
_TAKE_LOST = compile_statement(
    sa.text(
        "DELETE FROM search_lost_words WHERE ctid = ANY(ARRAY("
        "SELECT ctid FROM search_lost_words LIMIT :most FOR UPDATE SKIP LOCKED)) RETURNING word"
    ).bindparams(sa.bindparam("most", _AT_ONCE))
)
_UNUSED = compile_statement(
    sa.text(
        "SELECT DISTINCT lost FROM unnest(:words) AS lost WHERE NOT EXISTS"
        " (SELECT FROM search_entries WHERE words @> ARRAY[lost])"
    ).bindparams(sa.bindparam("words", type_=ARRAY(sa.Text)))
)
_FORGET = compile_statement(
    sa.text(
        "DELETE FROM search_words WHERE word = ANY(:words) AND NOT EXISTS"
        " (SELECT FROM search_entries WHERE words @> ARRAY[search_words.word]) RETURNING word"
    ).bindparams(sa.bindparam("words", type_=ARRAY(sa.Text)))
)


async def fill(home: Home, collection: Collection[Any]) -> int:
    """Makes the records known that are not: of before there was an index, or written by older code."""
    filled, last = 0, UUID(int=0)
    while True:
        async with home.database.transaction() as tx:
            call = new_call(home, service_principal(home.name), tx)
            rows = await tx.fetch_all(_missing(collection), {"last": last})
            records = hide(call, collection.name, [collection.codec.from_row(row) for row in rows])
            if records:
                await put_again(call, collection, records)
        filled += len(rows)
        if len(rows) < _AT_ONCE:
            return filled
        last = records[-1].id


async def search_again(call: Call, collection: Collection[Any], record: Any) -> None:
    """Makes a record known as an erasure has left it."""
    if isinstance(collection, Parties):
        (shown,) = hide(call, collection.name, [copy(record)])
        await put_changed(call, collection, shown)


def _missing(collection: Collection[Any]) -> Any:
    table = collection.table
    known = sa.exists().where(search_entries.c.record == table.c.id)
    return compile_statement(
        sa.select(*collection.codec.columns)
        .where(table.c.delete_time.is_(None), ~known)
        .where(table.c.id > sa.bindparam("last", type_=sa.Uuid))
        .order_by(table.c.id)
        .limit(_AT_ONCE)
        .with_for_update(key_share=True, skip_locked=True)
    )


async def drop_gone(home: Home, collection: Collection[Any]) -> int:
    """Takes records out that are deleted or merged, where what did that knew nothing of the index."""
    table = collection.table
    there = sa.exists().where(table.c.id == search_entries.c.record, table.c.delete_time.is_(None))
    of_kind = search_entries.c.collection == collection.name
    gone = sa.delete(search_entries).where(of_kind, ~there)
    async with home.database.transaction() as tx:
        rows = await tx.fetch_all(compile_statement(gone.returning(search_entries.c.record)))
        if rows:
            of_them = search_keys.c.record == sa.any_(sa.bindparam("records", type_=ARRAY(sa.Uuid)))
            keys = compile_statement(sa.delete(search_keys).where(of_them))
            await tx.execute(keys, {"records": [row[0] for row in rows]})
    return len(rows)


async def forget_lost_words(home: Home) -> bool:
    """Forgets words that no record has any more; False where there is nothing to do, or others are writing.

    A record that brings a word back must see that it is gone, or have its own seen: so the words are held
    for the moment in which they are removed.
    """
    try:
        async with home.database.transaction() as tx:
            lost = [row[0] for row in await tx.fetch_all(_TAKE_LOST)]
            if not lost:
                return False
            unused = [row[0] for row in await tx.fetch_all(_UNUSED, {"words": lost})]
            if unused:
                await tx.execute(_WAIT)
                await tx.execute(_HOLD_WORDS)
                await tx.fetch_all(_FORGET, {"words": unused})
            return True
    except psycopg.errors.LockNotAvailable:
        return False
