"""Records that were merged into others: an old name leads to the survivor (decision 19).

Which record lies in which is said by `merged_into`: of the own records in their table, of other services' in
`known_record`. How references follow a merge: `crmkit.merging`.
"""

from collections.abc import Iterable, Mapping
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit import contract
from crmkit.call import Call
from crmkit.codec import differ
from crmkit.custom_fields.types import reference_id
from crmkit.db import Executor
from crmkit.field_codecs import Reference
from crmkit.following import fields_that_follow, referring_fields
from crmkit.statements import Statement, compile_statement

# Only what is heard of in pieces makes longer chains, or circles: the next event mends them.
_LONGEST_CHAIN = 100


def can_be_merged(collection: str) -> bool:
    """True for collections whose records may lie in others."""
    resource = contract.collections().get(collection)
    return resource is not None and "merged_into" in resource.message.DESCRIPTOR.fields_by_name


@cache
def _statements(source: str) -> tuple[Statement, Statement]:
    """What finds the survivors of some records, and all that lies in one."""
    survivors = f"""
        WITH RECURSIVE above AS (
          SELECT id, merged_into, 1 AS level FROM {source} AND id = ANY (:ids)
          UNION ALL
          SELECT above.id, next.merged_into, level + 1
            FROM above JOIN (SELECT id, merged_into FROM {source}) next ON next.id = above.merged_into
           WHERE level < {_LONGEST_CHAIN}
        ) SELECT DISTINCT ON (id) id, merged_into FROM above ORDER BY id, level DESC
    """  # noqa: S608 - our own names
    family = f"""
        WITH RECURSIVE below AS (
          SELECT CAST(:id AS uuid) AS id
          UNION
          SELECT inner_.id
            FROM below JOIN (SELECT id, merged_into FROM {source}) inner_ ON inner_.merged_into = below.id
        ) SELECT id FROM below
    """  # noqa: S608
    ids, id_ = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)), sa.bindparam("id", type_=sa.Uuid)
    return (
        compile_statement(sa.text(survivors).bindparams(ids)),
        compile_statement(sa.text(family).bindparams(id_)),
    )


def _of(call: Call, collection: str) -> tuple[Statement, Statement]:
    own = call.home.tables.get(collection)
    kept = (
        f"known_record WHERE collection = '{collection}'"
        if own is None
        else f"{own.name} WHERE true"
    )
    return _statements(f"{kept} AND merged_into IS NOT NULL")


async def survivors(
    call: Call, collection: str, ids: Iterable[UUID], *, executor: Executor | None = None
) -> dict[UUID, UUID]:
    """Who stands for records that were merged; the others are left out."""
    wanted = list(set(ids))
    if not wanted or not can_be_merged(collection):
        return {}
    find, _ = _of(call, collection)
    rows = await (executor or call.reader).fetch_all(find, {"ids": wanted})
    return {row[0]: row[1] for row in rows}


async def present(
    call: Call, collection: str, ids: Iterable[UUID], *, executor: Executor | None = None
) -> list[UUID]:
    """The records that stand for some: themselves, or the survivors of those that were merged; each once."""
    wanted = list(ids)
    roots = await survivors(call, collection, wanted, executor=executor)
    return list(dict.fromkeys(roots.get(id_, id_) for id_ in wanted))


async def family(
    call: Call, collection: str, record: UUID, *, executor: Executor | None = None
) -> list[UUID]:
    """A record and all that was merged into it, over however many steps."""
    if not can_be_merged(collection):
        return [record]
    _, find = _of(call, collection)
    rows = await (executor or call.reader).fetch_all(find, {"id": record})
    return [row[0] for row in rows]


async def columns_beside(
    call: Call, collection: Any, record: UUID, rows: tuple[Mapping[str, Any], Mapping[str, Any]]
) -> dict[str, Any]:
    """What is written beside changed fields that follow merges, given a record's row before and after."""

    async def find(name: str, ids: Iterable[UUID]) -> Mapping[UUID, UUID]:
        return await survivors(call, name, ids, executor=call.tx)

    found: dict[str, Any] = {}
    for field in fields_that_follow(collection.codec):
        before, after = (row[field.name] for row in rows)
        if differ(before, after):
            found |= await field.columns(call.tx, record, before, after, find)
    return found


async def redirect(call: Call, collection: Any, entity: Any, merged: Iterable[Reference]) -> None:
    """Makes a record that is about to be stored refer to the survivors of merged ones."""
    wanted: dict[str, set[UUID]] = {}
    for reference in merged:
        wanted.setdefault(reference.collection, set()).add(reference.id)
    custom = call.home.custom_fields.of(collection.name).by_id
    for name, ids in wanted.items():
        roots = await survivors(call, name, ids)
        for field in referring_fields(collection.codec):
            if name in field.collections:
                field.redirect(collection.codec, entity, roots)
        own = {
            i: v
            for i, v in entity.custom_fields.items()
            if i in custom and custom[i].target == name
        }
        for field_id, value in own.items():
            root = roots.get(reference_id(value))
            if root is not None:
                entity.custom_fields = {**entity.custom_fields, field_id: f"{name}/{root}"}
