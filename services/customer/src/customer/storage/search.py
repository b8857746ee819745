"""The index that accounts and contacts are searched by; kept in the transactions that change them.

Each record has one entry, and some keys: values that are found as a whole or by their beginning. Words that a
typed word may be the beginning or a wrong spelling of are kept once each, however many records have them: so
both cost the same with a million records as with a thousand.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSON

from crmkit.call import Call
from crmkit.codec import differ
from crmkit.statements import TEXT, compile_statement
from customer.domain.party import Party
from customer.domain.search_entry import Entry, entry_of
from customer.storage.schema import CUSTOMER

search_entries = sa.Table(
    "search_entries",
    CUSTOMER,
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("pool", sa.Uuid),
    sa.Column("name", TEXT, nullable=False),
    sa.Column("words", ARRAY(TEXT), nullable=False),
    sa.Index("ix_search_entries_words", "words", postgresql_using="gin"),
    sa.Index("ix_search_entries_owner", "owner"),
    sa.Index("ix_search_entries_team", "team"),
    sa.Index("ix_search_entries_pool", "pool", postgresql_where=sa.text("pool IS NOT NULL")),
)
search_keys = sa.Table(
    "search_keys",
    CUSTOMER,
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Column("field", TEXT, primary_key=True),
    sa.Column("value", TEXT, primary_key=True),
    sa.Index("ix_search_keys_value", "value"),
)
# A word may stand there twice: two transactions that both bring it must not wait for each other.
search_words = sa.Table(
    "search_words",
    CUSTOMER,
    sa.Column("word", TEXT, nullable=False),
    sa.Index("ix_search_words_word", "word"),
    sa.Index(
        "ix_search_words_trigrams",
        "word",
        postgresql_using="gin",
        postgresql_ops={"word": "gin_trgm_ops"},
    ),
)
# Words that some record has lost, until it is known whether another has them (`search_upkeep`).
search_lost_words = sa.Table("search_lost_words", CUSTOMER, sa.Column("word", TEXT, nullable=False))

# What an entry is made from, as columns: while none of them changes it stays as it is.
_SOURCES = frozenset({
    "display_name", "legal_name", "sort_name", "given_name", "family_name", "emails", "phones", "addresses",
    "external_id", "external_ids", "custom_fields", "customer_number", "tax_id", "website", "domains",
    "kind", "owner", "team", "pool", "delete_time",
})  # fmt: skip
_RECORD = sa.bindparam("record", type_=sa.Uuid)
# Entries come as one JSON text: nothing else is as cheap to write, and one statement does for a thousand.
_PUT = compile_statement(
    sa.text(
        """
        WITH given AS MATERIALIZED (
          SELECT * FROM json_to_recordset(:entries) AS e(
            record uuid, owner uuid, team uuid, pool uuid, name text, words text[],
            fields text[], keys text[], taught text[])
        ), entries AS (
          INSERT INTO search_entries (record, collection, owner, team, pool, name, words)
          SELECT record, :collection, owner, team, pool, name, words FROM given
        ), keys AS (
          INSERT INTO search_keys (record, field, value)
          SELECT record, field, value FROM given, unnest(fields, keys) AS k(field, value)
        )
        INSERT INTO search_words (word)
        SELECT DISTINCT word FROM given, unnest(taught) AS learnt(word)
        WHERE NOT EXISTS (
          SELECT FROM search_words WHERE search_words.word = learnt.word COLLATE "C")
        """
    ).bindparams(sa.bindparam("entries", type_=JSON))
)
_lost = sa.func.unnest(search_entries.c.words).label("word")
_LOSE_WORDS = compile_statement(
    search_lost_words.insert().from_select(
        ["word"],
        sa.select(_lost)
        .where(search_entries.c.record == _RECORD)
        .except_(sa.select(sa.func.unnest(sa.bindparam("words", type_=ARRAY(TEXT))))),
    )
)
_ALL = sa.any_(sa.bindparam("records", type_=ARRAY(sa.Uuid)))
_DROP_KEYS = compile_statement(sa.delete(search_keys).where(search_keys.c.record == _ALL))
_DROP_ENTRIES = compile_statement(sa.delete(search_entries).where(search_entries.c.record == _ALL))


def changed(before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    """Whether the rows of a record, before and after a change, are searched differently."""
    return any(differ(before[name], after[name]) for name in _SOURCES & after.keys())


async def put_new(call: Call, collection: Any, records: Sequence[Party]) -> None:
    """Makes new records known, behind the statements that store them."""
    sensitive = collection.contract.sensitive
    entries = [_stored(record, entry_of(record, sensitive)) for record in records]
    await _put(call, collection, entries)


async def put_again(call: Call, collection: Any, records: Sequence[Party]) -> None:
    """Makes many records known that may be known already; the caller has locked them."""
    parameters = {"records": [record.id for record in records]}
    await call.tx.execute(_DROP_KEYS, parameters)
    await call.tx.execute(_DROP_ENTRIES, parameters)
    await put_new(call, collection, records)


async def put_changed(call: Call, collection: Any, record: Party) -> None:
    """Makes a changed record known as it is now; what is deleted is not found any more."""
    there = record.delete_time is None
    entry = entry_of(record, collection.contract.sensitive) if there else Entry("")
    await call.tx.execute(_LOSE_WORDS, {"record": record.id, "words": sorted(entry.words)})
    parameters = {"records": [record.id]}
    await call.tx.execute(_DROP_KEYS, parameters)
    await call.tx.execute(_DROP_ENTRIES, parameters)
    if there:
        await _put(call, collection, [_stored(record, entry)])


async def _put(call: Call, collection: Any, entries: Sequence[Mapping[str, Any]]) -> None:
    parameters = {"collection": collection.name, "entries": orjson.dumps(entries).decode()}
    await call.tx.execute(_PUT, parameters)


def _stored(record: Party, entry: Entry) -> Mapping[str, Any]:
    return {
        "record": record.id,
        "owner": record.owner,
        "team": record.team,
        "pool": getattr(record, "pool", None),  # contacts wait in none
        "name": entry.name,
        "words": list(entry.words),
        "fields": [key[0] for key in entry.keys],
        "keys": [key[1] for key in entry.keys],
        "taught": list(entry.taught),
    }
