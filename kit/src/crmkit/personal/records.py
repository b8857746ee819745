"""A record without what is personal in it: its fields, its custom fields, its history."""

from collections.abc import Callable
from copy import copy
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crmkit import contract, custom_values, revisions
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.codec import Codec, differ
from crmkit.collection import Collection
from crmkit.personal.subject import ERASED, Redactor
from crmkit.publishing import publish
from crmkit.statements import compile_statement

# Changes a record in place.
Change = Callable[[Any], None]


def personal_fields(codec: Codec[Any], entity: Record | None = None) -> list[str]:
    """The fields of a resource that are personal, of one record where that depends on it."""
    found = []
    for name, field in codec.fields.items():
        condition = field.personal_if
        holds = condition is not None and (
            entity is None or getattr(entity, condition[0]) == condition[1]
        )
        if field.personal or holds:
            found.append(name)
    return found


def empty(codec: Codec[Any], name: str, value: Any) -> Any:
    """What is left of a personal field: nothing; of a list of people, who is named by a reference."""
    field, descriptor = codec.fields[name], codec.contract.message.DESCRIPTOR.fields_by_name[name]
    nested = descriptor.message_type
    if descriptor.is_repeated and nested is not None and nested.GetOptions().map_entry:
        return {}
    if descriptor.is_repeated:
        return _only_references(nested, value) if nested is not None else []
    column = codec.table.c[field.column_names[0]]
    return None if column.nullable else ERASED


def _only_references(nested: Any, items: list[Any]) -> list[Any]:
    references = [f.name for f in nested.fields if contract.collections_of(f)]
    texts = [f.name for f in nested.fields if f.type == f.TYPE_STRING and f.name not in references]
    kept = [
        copy(i) for i in items or [] if any(getattr(i, name) is not None for name in references)
    ]
    for item in kept:
        for name in texts:
            setattr(item, name, None)
    return kept


def emptied(call: Call, collection: Collection[Any], *, wholly: bool) -> Change:
    """What takes the personal data out of a record; wholly: also what else tells who it is."""
    codec = collection.codec
    personal = call.home.custom_fields.of(collection.name).personal

    def change(entity: Any) -> None:
        for name in personal_fields(codec, entity):
            setattr(entity, name, empty(codec, name, getattr(entity, name)))
        kept = {} if wholly else entity.custom_fields
        entity.custom_fields = {i: v for i, v in kept.items() if i not in personal}
        if wholly:
            entity.labels, entity.external_id = {}, None

    return change


def redacted(codec: Codec[Any], redactor: Redactor, but: frozenset[str] = frozenset()) -> Change:
    """What takes a person's addresses out of every text of a record, but for some fields."""

    def change(entity: Any) -> None:
        row = codec.to_row(entity)
        for name, field in codec.fields.items():
            if name in but or len(field.column_names) > 1:  # an amount of money
                continue
            stored = row[name]
            before = stored.obj if isinstance(stored, Jsonb) else stored
            after = redactor.redact(before)
            if after != before:
                setattr(entity, name, field.load(after) if field.load else after)

    return change


async def rewrite(
    call: Call, collection: Collection[Any], id_: UUID, change: Change, kind: str = "updated"
) -> bool:
    """Changes a record past its rules, deleted or not, and forgets what it was; False if nothing changes.

    It becomes a next version with its event and, in its history, that something was erased; a client that
    still has the old version cannot write it back.
    """
    codec, table = collection.codec, collection.table
    query = sa.select(*codec.columns).where(table.c.id == sa.literal(id_, sa.Uuid))
    row = await call.tx.fetch_one(compile_statement(query.with_for_update()))
    if row is None:
        return False
    entity = codec.from_row(row)
    before, custom_before = codec.to_row(copy(entity)), dict(entity.custom_fields)
    change(entity)
    after = codec.to_row(entity)
    columns = [name for name, value in after.items() if differ(before[name], value)]
    if not columns and not entity.events:
        return False
    changed = codec.changed_fields(before, after)
    told = bool(entity.events) or f"{codec.contract.service}.{codec.contract.singular}.{kind}" in (
        contract.events()
    )
    if told:
        entity.version, entity.update_time = entity.version + 1, call.now
        after |= {"version": entity.version, "update_time": call.now}
        columns += ["version", "update_time"]
    types = {c.name: c.type for c in codec.columns}
    values = {name: sa.bindparam(f"new_{name}", type_=types[name]) for name in columns}
    update = sa.update(table).where(table.c.id == sa.bindparam("of", type_=sa.Uuid)).values(values)
    parameters = {"of": id_, **{f"new_{name}": after[name] for name in columns}}
    await call.tx.execute(compile_statement(update), parameters)
    await custom_values.forget_values(call, collection.name, entity, custom_before)
    if call.home.personal.rewritten is not None:
        await call.home.personal.rewritten(call, collection, entity)
    if told:
        await publish(codec, call, entity, kind, {name: [revisions.ERASED] for name in changed})
    return True


async def forget_history(
    call: Call, collection: Collection[Any], id_: UUID, *, wholly: bool = False
) -> None:
    """Removes personal values from a record's history; wholly: also what else tells who it is."""
    fields = call.home.custom_fields.of(collection.name)
    also = ["labels", "external_id", "custom_fields"] if wholly else ["custom_fields"]
    await revisions.erase_personal(call.tx, collection.codec, fields, id_, also)
