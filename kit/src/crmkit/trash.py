"""The end of deleted records: purged by hand, or when they have lain in the trash long enough.

A record that others of the same service refer to stays. What other services keep of it they forget when
they hear `purged`; references that they have to it stay, as names of something that is no more.
"""

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from google.api import resource_pb2
from google.protobuf.descriptor import FieldDescriptor
from sqlalchemy.dialects.postgresql import JSONB

from crmkit import clock, contract, custom_values
from crmkit.access import service_principal
from crmkit.call import Call, Home, new_call
from crmkit.children import attached_files, collaborators, comments, followers
from crmkit.codec import Codec
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, Failure
from crmkit.publishing import publish_purged
from crmkit.statements import TIMESTAMP, compile_statement

_SECONDS_BETWEEN_ROUNDS = 3600.0
_AT_ONCE = 500
_log = structlog.get_logger("crm.trash")


async def purge(call: Call, collection: Collection[Any], entity: Any) -> None:
    """Removes a deleted record, locked by the caller, and what belongs to it: history, comments, files.

    Raises:
        FailedPrecondition: `NOT_DELETED`, or `STILL_REFERENCED` with the `referrer` and its `field`;
            or what the collection's own `before_purge` says.
    """
    name = collection.codec.name_of(entity.id)
    if entity.delete_time is None:
        msg = f"{name} is not deleted; only what lies in the trash can be purged."
        raise FailedPrecondition(msg, reason="NOT_DELETED")
    if collection.before_purge is not None:
        await collection.before_purge(call, entity)
    await _refuse_while_referenced(call, collection, entity.id)
    await _purge_what_ends_with(call, collection, entity.id)
    table = collection.table
    await call.tx.execute(compile_statement(sa.delete(table).where(table.c.id == entity.id)))
    await comments.forget(call.tx, entity.id)
    await followers.forget(call.tx, entity.id)
    await attached_files.forget(call.tx, entity.id)
    await collaborators.forget(call.tx, entity.id)
    entity.version += 1
    await publish_purged(collection.codec, call, entity)


async def _purge_what_ends_with(call: Call, collection: Collection[Any], id_: UUID) -> None:
    for other in (c for c in call.home.collections.values() if c.ends_with):
        table, descriptor = other.table, other.contract.message.DESCRIPTOR
        if not _refers_to(descriptor.fields_by_name[other.ends_with], collection.name):
            continue
        query = sa.select(*other.codec.columns).where(table.c[other.ends_with] == id_)
        for row in await call.tx.fetch_all(compile_statement(query.with_for_update())):
            belonging = other.codec.from_row(row)
            belonging.delete_time = call.now
            await purge(call, other, belonging)


async def _refuse_while_referenced(call: Call, collection: Collection[Any], id_: UUID) -> None:
    name = collection.codec.name_of(id_)
    referring = await custom_values.referrer(call.tx, id_)
    if referring is not None:
        raise _still_referenced(name, *referring)
    for other in (c for c in call.home.collections.values() if c.holds_on):
        table = other.table
        for field, condition in _references(other.codec, collection.name, id_):
            if field == other.ends_with:
                continue
            query = sa.select(table.c.id).where(condition, table.c.id != id_).limit(1)
            row = await call.tx.fetch_one(compile_statement(query))
            if row is not None:
                raise _still_referenced(name, other.codec.name_of(row[0]), field)


def _still_referenced(name: str, referrer: str, field: str) -> FailedPrecondition:
    msg = f"{referrer} still refers to {name} as {field}."
    metadata = {"referrer": referrer, "field": field}
    return FailedPrecondition(msg, reason="STILL_REFERENCED", metadata=metadata)


def _references(
    codec: Codec[Any], collection: str, id_: UUID
) -> Iterator[tuple[str, sa.ColumnElement[bool]]]:
    """The fields of a resource that can refer to a collection, and the condition for one record of it."""
    descriptor: Any = codec.contract.message.DESCRIPTOR
    for field in descriptor.fields:
        if field.name not in codec.fields:
            continue
        column = codec.table.c[field.name]
        if _refers_to(field, collection):
            value = sa.literal(id_, sa.Uuid)
            yield field.name, value == sa.any_(column) if field.is_repeated else column == value
        elif field.is_repeated and field.message_type is not None:
            for inner in field.message_type.fields:
                if _refers_to(inner, collection):
                    item = sa.literal([{inner.name: str(id_)}], JSONB)
                    yield f"{field.name}.{inner.name}", sa.type_coerce(column, JSONB).contains(item)


def _refers_to(field: FieldDescriptor, collection: str) -> bool:
    kind = field.GetOptions().Extensions[resource_pb2.resource_reference].type
    target = contract.resources().get(kind)
    return target is not None and target.collection == collection


async def keep_purging(
    home: Home, collections: Sequence[Collection[Any]], stop: asyncio.Event
) -> None:
    """Empties the trash of what has lain there longer than the organisation wants, hour by hour."""
    while not stop.is_set():
        kept = timedelta(days=home.rights.organization.trash_retention_days)
        with suppress(psycopg.Error, Failure):  # the database is away: the next round tries again
            await purge_expired(home, collections, clock.now() - kept)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_BETWEEN_ROUNDS):
                await stop.wait()


async def purge_expired(
    home: Home, collections: Sequence[Collection[Any]], before: datetime
) -> Mapping[str, int]:
    """Purges what was deleted before an instant; answers how many records of each collection.

    Each record goes in a transaction of its own. One that others refer to is tried again next time.
    """
    purged = dict.fromkeys((c.name for c in collections if c.purged_by_age), 0)
    for collection in collections:
        if collection.purged_by_age:
            async for id_ in _expired(home, collection, before):
                purged[collection.name] += await _purge_expired_one(home, collection, id_, before)
    if any(purged.values()):
        _log.info("trash emptied", service=home.name, **{n: c for n, c in purged.items() if c})
    return purged


def _may_end(table: sa.Table) -> sa.ColumnElement[bool]:
    """What is left of somebody who was erased is kept: it holds the proof of what they had allowed."""
    return table.c.erase_time.is_(None) if "erase_time" in table.c else sa.true()


async def _expired(
    home: Home, collection: Collection[Any], before: datetime
) -> AsyncIterator[UUID]:
    table = collection.table
    key = sa.tuple_(table.c.delete_time, table.c.id)
    query = (
        sa.select(table.c.delete_time, table.c.id)
        .where(table.c.delete_time < before, _may_end(table), *_unmerged(table))
        .order_by(table.c.delete_time, table.c.id)
        .limit(_AT_ONCE)
    )
    last: tuple[datetime, UUID] | None = None
    while True:
        page = query
        if last is not None:
            position = sa.literal(last[0], TIMESTAMP), sa.literal(last[1], sa.Uuid)
            page = query.where(key > sa.tuple_(*position))
        rows = await home.database.fetch_all(compile_statement(page))
        for row in rows:
            yield row[1]
        if len(rows) < _AT_ONCE:
            return
        last = rows[-1][0], rows[-1][1]


def _unmerged(table: sa.Table) -> list[sa.ColumnElement[bool]]:
    """What was merged goes when its survivor does: until then its name leads there."""
    return [table.c.merged_into.is_(None)] if "merged_into" in table.c else []


async def _purge_expired_one(
    home: Home, collection: Collection[Any], id_: UUID, before: datetime
) -> bool:
    table = collection.table
    locked = (
        sa.select(*collection.codec.columns)
        .where(table.c.id == id_, table.c.delete_time < before, _may_end(table))
        .with_for_update(skip_locked=True)  # another process purges it, or somebody restores it
    )
    try:
        async with home.database.transaction() as tx:
            row = await tx.fetch_one(compile_statement(locked))
            if row is None:
                return False
            call = new_call(home, service_principal(home.name), tx)
            await purge(call, collection, collection.codec.from_row(row))
    except FailedPrecondition:
        return False
    return True
