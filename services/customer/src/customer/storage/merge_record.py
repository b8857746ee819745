"""Where it is kept what was merged, and how a merge is tried without doing it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from copy import copy
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import merge_record_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, TIMESTAMP, Statement, compile_statement, record_table
from customer.domain.merge_record import MergeRecord
from customer.storage.schema import CUSTOMER

merge_records = record_table(
    "merge_records",
    CUSTOMER,
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("survivor", TEXT, nullable=False),
    sa.Column("losers", sa.ARRAY(TEXT), nullable=False),
    sa.Column("field_choices", JSONB, nullable=False),
    sa.Column("changed_fields", sa.ARRAY(TEXT), nullable=False),
    sa.Column("revision", TEXT),
    sa.Column("moved", JSONB, nullable=False),
    sa.Column("caused_by", sa.Uuid),
    sa.Column("unmerge_time", TIMESTAMP),
    sa.Column("unmerger", sa.Uuid),
    sa.Column("kept_fields", sa.ARRAY(TEXT), nullable=False),
    sa.Index("ix_merge_records_survivor", "survivor", "id"),
    sa.Index("ix_merge_records_losers", "losers", postgresql_using="gin"),
    sa.Index(
        "ix_merge_records_caused_by",
        "caused_by",
        postgresql_where=sa.text("caused_by IS NOT NULL"),
    ),
)

_LAST = compile_statement(
    sa.select(merge_records.c.id)
    .where(
        merge_records.c.survivor == sa.bindparam("survivor"),
        merge_records.c.state == "MERGED",
        merge_records.c.caused_by.is_(None),
    )
    .order_by(merge_records.c.id.desc())
    .limit(1)
)
_CAUSED_BY = compile_statement(
    sa.select(merge_records.c.id).where(
        merge_records.c.caused_by == sa.bindparam("id", type_=sa.Uuid)
    )
)
_BEGIN, _TAKE_BACK = Statement("SAVEPOINT preview", {}), Statement("ROLLBACK TO preview", {})


class MergeRecords(Collection[MergeRecord]):
    """The collection: what was done, which only being taken back changes."""

    handed_over = sa.false()  # the survivor is; the record keeps who was responsible then

    async def by_id(self, call: Call, record: UUID) -> MergeRecord | None:
        """A merge, locked for who may change its survivor to take it back; None where there is none."""
        row = await call.tx.fetch_one(self._lock, {"id": record})
        if row is None:
            return None
        entity = self.codec.from_row(row)
        call.state[entity.id] = (copy(entity), self.codec.to_row(entity))
        return entity

    async def last(self, call: Call, survivor: str) -> UUID | None:
        """The last merge into a record that stands."""
        row = await call.tx.fetch_one(_LAST, {"survivor": survivor})
        return row[0] if row is not None else None

    async def caused_by(self, call: Call, record: UUID) -> UUID | None:
        """The merge of contacts that a merge of accounts brought about."""
        row = await call.tx.fetch_one(_CAUSED_BY, {"id": record})
        return row[0] if row is not None else None


MERGE_RECORDS = MergeRecords(
    merge_record_pb2.MergeRecord, MergeRecord, merge_records, natural_key=""
)


@asynccontextmanager
async def undone_if(call: Call, preview: bool) -> AsyncIterator[None]:  # noqa: FBT001 - the request's field
    """Takes back what the block writes, if it is a preview."""
    if preview:
        await call.tx.execute(_BEGIN)
    yield
    if preview:
        await call.tx.execute(_TAKE_BACK)
