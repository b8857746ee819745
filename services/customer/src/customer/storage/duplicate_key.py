"""In which blocks records are, and which records are neighbours there."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Executor
from crmkit.statements import compile_statement
from customer.storage.schema import CUSTOMER

# In a larger block a record is compared with its neighbours in order of creation only: what is compared
# grows with the number of records, not with its square.
NEIGHBOURS = 25
# From so many records on, what they are all reached by says little of each.
_SHARED_FROM = 4

duplicate_keys = sa.Table(
    "duplicate_keys",
    CUSTOMER,
    sa.Column("block", sa.BigInteger, primary_key=True, autoincrement=False),
    sa.Column("record", sa.Uuid, primary_key=True),
    sa.Index("ix_duplicate_keys_record", "record"),
)

_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
_BLOCKS = sa.bindparam("blocks", type_=sa.ARRAY(sa.BigInteger))
_FORGET = compile_statement(
    sa.text(
        "DELETE FROM duplicate_keys k USING unnest(:ids) AS one (id) WHERE k.record = one.id"
        " AND NOT EXISTS (SELECT FROM unnest(:blocks, :records) AS kept (block, record)"
        " WHERE kept.record = k.record AND kept.block = k.block)"
    ).bindparams(_IDS, _BLOCKS, sa.bindparam("records", type_=sa.ARRAY(sa.Uuid)))
)
_KEEP = compile_statement(
    sa.text(
        "INSERT INTO duplicate_keys (block, record) SELECT * FROM unnest(:blocks, :records)"
        " ON CONFLICT DO NOTHING"
    ).bindparams(_BLOCKS, sa.bindparam("records", type_=sa.ARRAY(sa.Uuid)))
)
_NEIGHBOURS = compile_statement(
    sa.text(
        f"""
        SELECT DISTINCT own.record, near.record FROM unnest(:blocks, :records) AS own (block, record),
        LATERAL (
          (SELECT record FROM duplicate_keys k WHERE k.block = own.block AND k.record < own.record
           ORDER BY k.record DESC LIMIT {NEIGHBOURS})
          UNION ALL
          (SELECT record FROM duplicate_keys k WHERE k.block = own.block AND k.record > own.record
           ORDER BY k.record LIMIT {NEIGHBOURS})
        ) AS near
        """  # noqa: S608 - our own number
    ).bindparams(_BLOCKS, sa.bindparam("records", type_=sa.ARRAY(sa.Uuid)))
)
_SHARED = compile_statement(
    sa.text(
        f"""
        SELECT block FROM unnest(:blocks) AS one (block) WHERE (
          SELECT count(*) FROM (
            SELECT FROM duplicate_keys k WHERE k.block = one.block LIMIT {_SHARED_FROM}
          ) AS few
        ) = {_SHARED_FROM}
        """  # noqa: S608 - our own number
    ).bindparams(_BLOCKS)
)

Blocks = Mapping[UUID, Iterable[int]]


def _columns(blocks: Blocks) -> dict[str, object]:
    rows = [(block, record) for record, of_it in blocks.items() for block in of_it]
    return {"blocks": [row[0] for row in rows], "records": [row[1] for row in rows]}


async def keep_blocks(tx: Executor, ids: Sequence[UUID], blocks: Blocks) -> None:
    """Some records are in these blocks now, and in no others; one without blocks is forgotten."""
    columns = _columns(blocks)
    await tx.execute(_FORGET, {"ids": list(ids), **columns})
    await tx.execute(_KEEP, columns)


async def neighbours(reader: Executor, blocks: Blocks) -> dict[UUID, set[UUID]]:
    """Which records are near some records in their blocks."""
    found: defaultdict[UUID, set[UUID]] = defaultdict(set)
    for record, near in await reader.fetch_all(_NEIGHBOURS, _columns(blocks)):
        found[record].add(near)
    return found


async def crowded(reader: Executor, blocks: Sequence[int]) -> set[int]:
    """Those of some blocks that many records are in."""
    rows = await reader.fetch_all(_SHARED, {"blocks": list(blocks)})
    return {row[0] for row in rows}
