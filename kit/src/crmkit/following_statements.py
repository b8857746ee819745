"""The statements of fields that follow merges, and the values of custom fields, which follow too."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crmkit.call import Call
from crmkit.statements import Statement, compile_statement

RECORDED = "_as_recorded"
_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
_ROOT = sa.bindparam("root", type_=sa.Uuid)


@dataclass(frozen=True)
class Moved:
    """How many records of a collection show another record in a field."""

    collection: str
    field: str
    count: int


@lru_cache(maxsize=256)
def follow_one(table: str, name: str) -> Statement:
    """Shows `root` where one of `ids` was recorded; answers in how many records."""
    kept = name + RECORDED
    recorded = f"coalesce({kept}, {name})"
    sql = f"""
        WITH moved AS (
          UPDATE {table} SET {name} = :root, {kept} = nullif({recorded}, :root)
           WHERE ({name} = ANY (:ids) AND {kept} IS NULL OR {kept} = ANY (:ids)) AND {name} <> :root
          RETURNING 1
        ) SELECT count(*) FROM moved
    """  # noqa: S608 - our own names
    return compile_statement(sa.text(sql).bindparams(_IDS, _ROOT))


@lru_cache(maxsize=256)
def touched_lists(table: str, name: str, *, names: bool) -> Statement:
    """Id, what is shown, what was recorded: of the records whose list holds one of `keys`."""
    kept = name + RECORDED
    if names:
        keys = "CAST(:keys AS text[])"
        held = f"{name} && {keys} AND {kept} IS NULL OR {kept} && {keys}"
        sql = f"SELECT id, {name}, {kept} FROM {table} WHERE {held} ORDER BY id FOR UPDATE"  # noqa: S608
        return compile_statement(sa.text(sql))
    # An index is used for each of the keys, not for any of them.
    sql = f"""
        SELECT id, {name}, {kept} FROM {table} WHERE id IN (
          SELECT held.id FROM unnest(CAST(:keys AS jsonb[])) AS wanted (key) CROSS JOIN LATERAL (
            SELECT id FROM {table} WHERE {name} @> key AND {kept} IS NULL
            UNION ALL SELECT id FROM {table} WHERE {kept} @> key) AS held)
        ORDER BY id FOR UPDATE
    """  # noqa: S608
    return compile_statement(sa.text(sql))


@lru_cache(maxsize=256)
def put_lists(table: str, name: str, *, names: bool) -> Statement:
    """Writes what lists show and what was recorded, as `changes` says."""
    item = "ARRAY(SELECT jsonb_array_elements_text(x.{}))" if names else "x.{}"
    recorded = item.format("recorded")
    sql = f"""
        UPDATE {table} SET {name} = {item.format("shown")},
               {name}{RECORDED} = CASE WHEN jsonb_typeof(x.recorded) = 'array' THEN {recorded} END
          FROM jsonb_to_recordset(:changes) AS x (id uuid, shown jsonb, recorded jsonb)
         WHERE {table}.id = x.id
    """  # noqa: S608
    return compile_statement(sa.text(sql))


@lru_cache(maxsize=256)
def recorded_of(table: str, name: str) -> Statement:
    """What was recorded in a record's field; NULL where it is what is shown."""
    sql = f"SELECT {name}{RECORDED} FROM {table} WHERE id = :id"  # noqa: S608
    return compile_statement(sa.text(sql).bindparams(sa.bindparam("id", type_=sa.Uuid)))


_FOLLOW_CUSTOM = compile_statement(
    sa.text(
        """
        UPDATE custom_field_value v
           SET reference_value = :root,
               reference_as_recorded = nullif(coalesce(v.reference_as_recorded, v.reference_value), :root)
          FROM custom_field f
         WHERE f.target = :collection AND v.field = f.id AND v.reference_value <> :root
           AND (v.reference_value = ANY (:ids) AND v.reference_as_recorded IS NULL
                OR v.reference_as_recorded = ANY (:ids))
        RETURNING f.resource, f.field_id, v.record
        """
    ).bindparams(_IDS, _ROOT)
)


async def follow_in_custom_fields(
    call: Call, collection: str, inside: Sequence[UUID], root: UUID
) -> list[Moved]:
    """As `Following.follow`, for the values of custom fields."""
    parameters = {"ids": list(inside), "root": root, "collection": collection}
    records: dict[tuple[str, str], list[UUID]] = {}
    for resource, field_id, record in await call.tx.fetch_all(_FOLLOW_CUSTOM, parameters):
        records.setdefault((resource, field_id), []).append(record)
    for (resource, field_id), ids in records.items():
        value = Jsonb({field_id: f"{collection}/{root}"})
        table = call.home.tables[resource]
        await call.tx.execute(_set_custom(table), {"ids": ids, "value": value})
    return [
        Moved(r, f"custom_fields.{field_id}", len(ids)) for (r, field_id), ids in records.items()
    ]


@lru_cache(maxsize=256)
def _set_custom(table: sa.Table) -> Statement:
    sql = f"UPDATE {table.name} SET custom_fields = custom_fields || :value WHERE id = ANY (:ids)"  # noqa: S608
    return compile_statement(sa.text(sql).bindparams(_IDS))
