"""What the tables of accounts and contacts have in common."""

from collections.abc import Sequence
from copy import copy
from typing import Any, TypeVar
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.custom_values import hide
from crmkit.sources import is_noted, settled
from crmkit.statements import TEXT, TIMESTAMP, compile_statement
from customer.domain.party import Party
from customer.domain.quality import SHARED_EMAIL
from customer.storage import search
from customer.storage.schema import CUSTOMER

P = TypeVar("P", bound=Party)


def party_columns(table: str) -> list[sa.schema.SchemaItem]:
    """The columns and indexes of how to reach somebody."""
    return [
        sa.Column("emails", JSONB, nullable=False),
        sa.Column("phones", JSONB, nullable=False),
        sa.Column("addresses", JSONB, nullable=False),
        sa.Column("sort_name", TEXT),
        sa.Column("external_ids", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Column("preferred_channel", TEXT),
        sa.Column("quiet_hours_start", TEXT),
        sa.Column("quiet_hours_end", TEXT),
        sa.Column("time_zone", TEXT),
        sa.Column("language_code", TEXT),
        sa.Column("interests", ARRAY(TEXT), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("important_dates", JSONB, nullable=False, server_default=sa.text("'[]'")),
        sa.Column("completeness", sa.Integer),
        sa.Column("missing_fields", ARRAY(TEXT), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("quality_issues", ARRAY(TEXT), nullable=False, server_default=sa.text("'{}'")),
        sa.Column("field_sources", JSONB, nullable=False, server_default=sa.text("'{}'")),
        sa.Index(f"ix_{table}_quality_issues", "quality_issues", postgresql_using="gin"),
        sa.Column("erase_time", TIMESTAMP),
        sa.Column("merged_into", sa.Uuid),
        sa.Index(
            f"ix_{table}_merged_into",
            "merged_into",
            postgresql_where=sa.text("merged_into IS NOT NULL"),
        ),
        sa.Index(f"ix_{table}_sort_name", "sort_name", "id"),
        *(
            sa.Index(
                f"ix_{table}_{points}",
                points,
                postgresql_using="gin",
                postgresql_ops={points: "jsonb_path_ops"},
            )
            for points in ("emails", "phones")
        ),
        sa.Index(f"ix_{table}_completeness", "completeness", "id"),
    ]


def external_id_table(records: str) -> sa.Table:
    """Where it is kept which record another system knows by which identifier."""
    return sa.Table(
        f"{records.removesuffix('s')}_external_ids",
        CUSTOMER,
        sa.Column(
            "record", sa.Uuid, sa.ForeignKey(f"{records}.id", ondelete="CASCADE"), primary_key=True
        ),
        sa.Column("system", TEXT, primary_key=True),
        sa.Column("value", TEXT, nullable=False),
        # The name says the field: a violation is answered as `account.external_ids is taken`.
        sa.UniqueConstraint(
            "system", "value", name=f"uq_{records.removesuffix('s')}_external_ids_external_ids"
        ),
    )


class Parties(Collection[P]):
    """Records that other systems know, too: each identifier is unique within its system.

    They can be merged; what was merged ends with its survivor.
    """

    ends_with = "merged_into"

    def __init__(self, *arguments: Any, external_ids: sa.Table, **options: Any) -> None:
        """As a collection; `external_ids` is its table of `external_id_table`."""
        super().__init__(*arguments, **options)
        self.handed_over = self.table.c.merged_into.is_(None)  # its name means the survivor
        ids = external_ids
        record = sa.bindparam("record", type_=sa.Uuid)
        self._forget = compile_statement(sa.delete(ids).where(ids.c.record == record))
        rows = (
            sa.func.unnest(
                sa.bindparam("records", type_=ARRAY(sa.Uuid)),
                sa.bindparam("systems", type_=ARRAY(sa.Text)),
                sa.bindparam("values", type_=ARRAY(sa.Text)),
            )
            .table_valued("record", "system", "value")
            .render_derived()
        )
        self._keep = compile_statement(
            ids.insert().from_select(["record", "system", "value"], sa.select(rows))
        )
        self._find = compile_statement(
            sa.select(ids.c.record).where(
                ids.c.system == sa.bindparam("system"), ids.c.value == sa.bindparam("value")
            )
        )
        address = sa.func.unnest(sa.bindparam("addresses", type_=ARRAY(sa.Text)))
        wanted = address.column_valued("wanted")
        same = sa.func.jsonb_build_array(
            sa.func.jsonb_build_object(sa.literal_column("'address'"), wanted)
        )
        self._shared = compile_statement(
            sa.select(self.table.c.id)
            .where(
                sa.type_coerce(self.table.c.emails, JSONB).contains(same),
                self.table.c.id != sa.bindparam("id", type_=sa.Uuid),
                self.table.c.delete_time.is_(None),
            )
            .limit(1)
        )
        own = self.table.c.external_id == sa.bindparam("value")
        self._find_own = compile_statement(sa.select(self.table.c.id).where(own))

    async def insert(self, call: Call, entity: P) -> P:
        """Stores a new record and what other systems call it."""
        self._note_sources(call, [entity])
        entity = await super().insert(call, entity)
        await self._keep_ids(call, [entity])
        await search.put_new(call, self, [entity])
        return entity

    async def insert_many(self, call: Call, entities: Sequence[P]) -> None:
        """Stores many new records and what other systems call them."""
        self._note_sources(call, entities)
        await super().insert_many(call, entities)
        await self._keep_ids(call, entities)
        await search.put_new(call, self, entities)

    async def save(self, call: Call, entity: P, kind: str = "updated") -> P:
        """Stores a record's next version and what other systems call it now."""
        before, row_before = call.state[entity.id]
        if is_noted(call) or entity.field_sources:
            changed = self.codec.changed_fields(row_before, self.codec.to_row(entity))
            named = self.codec.writable.intersection(changed)
            entity.field_sources = settled(call, entity.field_sources, named)
        entity = await super().save(call, entity, kind)
        if entity.external_ids != before.external_ids:
            await call.tx.execute(self._forget, {"record": entity.id})
            await self._keep_ids(call, [entity])
        if search.changed(row_before, call.state[entity.id][1]):
            await search.put_changed(call, self, entity)
        return entity

    def _note_sources(self, call: Call, entities: Sequence[P]) -> None:
        """Says of new records where their values come from, where that counts or has a name."""
        if not is_noted(call):
            return
        for entity in entities:
            filled = [name for name in self.codec.writable if getattr(entity, name, None)]
            entity.field_sources = settled(call, {}, filled)

    async def hint_at_shared_emails(self, call: Call, entity: P) -> None:
        """Where the organisation wants it, says of a record that another has one of its e-mail addresses."""
        if call.organization.shared_email_policy != "HINTED" or not entity.emails:
            return
        addresses = [email.address for email in entity.emails]
        row = await call.tx.fetch_one(self._shared, {"id": entity.id, "addresses": addresses})
        if row is not None and SHARED_EMAIL not in entity.quality_issues:
            entity.quality_issues = [*entity.quality_issues, SHARED_EMAIL]

    async def by_external_id(self, call: Call, system: str, value: str) -> P:
        """The record that a system knows by an identifier, within the caller's scope; raises NotFound."""
        statement = self._find if system else self._find_own
        row = await call.reader.fetch_one(statement, {"system": system, "value": value})
        found = await self.get_many(call, [row[0]]) if row is not None else []
        if not found:  # also where it lies out of scope: nobody learns that it is there
            wanted = f"{self.contract.singular} {value} of {system or 'no system'}"
            raise self.not_found(wanted)
        return found[0]

    async def absorb(self, call: Call, loser: P, survivor: UUID) -> None:
        """Merges a record, locked for it, into another; what is kept in step with it stays as it is."""
        loser.delete_time, loser.merged_into = call.now, survivor
        loser.record("merged")
        await super().save(call, loser)
        await search.put_changed(call, self, loser)

    async def release(self, call: Call, loser: UUID, survivor: UUID) -> bool:
        """Lets a record that was merged into another stand by itself again; False where it was not."""
        row = await call.tx.fetch_one(self._lock, {"id": loser})
        if row is None:
            return False
        (entity,) = hide(call, self.name, [self.codec.from_row(row)])
        if entity.merged_into != survivor:
            return False
        call.state[entity.id] = (copy(entity), self.codec.to_row(entity))
        entity.delete_time = entity.merged_into = None
        entity.record("unmerged", survivor=self.codec.name_of(survivor))
        await super().save(call, entity)
        await search.put_changed(call, self, entity)
        return True

    async def _keep_ids(self, call: Call, entities: Sequence[P]) -> None:
        rows: list[tuple[UUID, str, str]] = [
            (entity.id, system, value)
            for entity in entities
            for system, value in entity.external_ids.items()
        ]
        if rows:
            records, systems, values = zip(*rows, strict=True)
            parameters = {
                "records": list(records),
                "systems": list(systems),
                "values": list(values),
            }
            await call.tx.execute(self._keep, parameters)
