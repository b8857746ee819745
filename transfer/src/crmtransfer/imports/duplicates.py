"""Which rows describe records that we have: by external id, else by natural key."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit import merges
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.db import Transaction
from crmkit.lookup import look_up
from crmkit.statements import compile_statement

# (field, value): what makes two records the same.
Identity = tuple[str, str]

# Others may have to wait for several batches of others: longer than a request would.
_ALONE = compile_statement(
    sa.text(
        "SELECT set_config('lock_timeout', '25s', true),"
        " pg_advisory_xact_lock(hashtextextended('import ' || :collection, 0))"
    )
)


@dataclass(frozen=True, slots=True)
class Match:
    """A record that we have; `usable` if it is not deleted and the importing person sees it."""

    id: UUID
    usable: bool


def identity(collection: Collection[Any], entity: Any) -> Identity | None:
    """What tells a record apart; None if nothing does."""
    if entity.external_id:
        return "external_id", entity.external_id
    field = collection.natural_key
    known = collection.listing.filter_fields.get(field)
    value = getattr(entity, field, None)
    return (field, value) if known is not None and known.kind == "text" and value else None


async def alone(tx: Transaction, collection: Collection[Any]) -> None:
    """Lets no other import look for natural keys in the collection until the transaction ends.

    An external id is unique in the database; a natural key is not, so that two imports which both look
    first and write then would both find nothing.
    """
    await tx.execute(_ALONE, {"collection": collection.name})


async def matches(
    call: Call, collection: Collection[Any], wanted: Iterable[Identity]
) -> dict[Identity, Match]:
    """The records that we have, by identity; the oldest where several share a natural key."""
    by_field: dict[str, list[str]] = {}
    for field, value in wanted:
        by_field.setdefault(field, []).append(value)
    found: dict[Identity, Match] = {}
    for field, values in by_field.items():
        if field == "external_id":
            found |= await _by_external_id(call, collection, values)
        else:
            pairs = await look_up(call, collection, field, values)
            for value, id_ in sorted(pairs, key=lambda pair: pair[1], reverse=True):
                found[field, value] = Match(id_, usable=True)
    return found


async def _by_external_id(
    call: Call, collection: Collection[Any], values: list[str]
) -> dict[Identity, Match]:
    """Also deleted records and those out of scope: an external id is taken once and for all.

    That of a record that was merged leads to the survivor.
    """
    c = collection.table.c
    statement = compile_statement(
        sa.select(c.external_id, c.id, c.delete_time, c.owner, c.team).where(
            c.external_id == sa.any_(sa.bindparam("values", type_=sa.ARRAY(sa.Text)))
        )
    )
    rows = await call.tx.fetch_all(statement, {"values": values})
    rows = await _survivors(call, collection, rows)
    records = [(id_, owner, team) for _, id_, _, owner, team in rows]
    reached = await collection.within_reach(call, collection.permission("get"), records)
    return {
        ("external_id", value): Match(id_, usable=delete_time is None and id_ in reached)
        for value, id_, delete_time, _, _ in rows
    }


async def _survivors(call: Call, collection: Collection[Any], rows: list[Any]) -> list[Any]:
    """The rows with the survivors' in the place of those that were merged."""
    ids = [row[1] for row in rows if row[2] is not None]
    roots = await merges.survivors(call, collection.name, ids, executor=call.tx)
    if not roots:
        return rows
    c = collection.table.c
    statement = compile_statement(
        sa.select(c.id, c.delete_time, c.owner, c.team).where(
            c.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)))
        )
    )
    there = await call.tx.fetch_all(statement, {"ids": list(roots.values())})
    by_id = {row[0]: row for row in there}
    return [(row[0], *by_id[roots[row[1]]]) if row[1] in roots else row for row in rows]
