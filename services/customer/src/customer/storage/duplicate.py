"""Where sets of duplicates are kept, and what was said not to be one; read in their members' scope."""

from collections.abc import Collection as Some
from collections.abc import Iterable, Sequence
from copy import copy
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

from crm.customer.v1 import duplicate_pb2
from crmkit.access import EVERYTHING, RecordScope, scope_condition
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.listing import Listing
from crmkit.sharing import Found, shared_with_caller, within_reach
from crmkit.statements import TEXT, compile_statement, record_table
from customer.domain.duplicate import DuplicatePair, DuplicateSet
from customer.storage.account import ACCOUNTS, accounts
from customer.storage.contact import CONTACTS, contacts
from customer.storage.schema import CUSTOMER

duplicate_sets = record_table(
    "duplicate_sets",
    CUSTOMER,
    sa.Column("resource", TEXT, nullable=False),
    sa.Column("members", ARRAY(TEXT), nullable=False),
    sa.Column("score", sa.Double, nullable=False),
    sa.Column("pairs", JSONB, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    # Looked up more often than written: what waits for the index would be read each time.
    sa.Index(
        "ix_duplicate_sets_members",
        "members",
        postgresql_using="gin",
        postgresql_with={"fastupdate": "off"},
    ),
    sa.Index("ix_duplicate_sets_state", "state", "id"),
    sa.Index("ix_duplicate_sets_score", "score", "id"),
)
# Pairs, their names in order, that are not to be reported again.
duplicate_dismissals = sa.Table(
    "duplicate_dismissals",
    CUSTOMER,
    sa.Column("first", TEXT, primary_key=True),
    sa.Column("second", TEXT, primary_key=True),
)

_NAMES = sa.bindparam("names", type_=ARRAY(TEXT))
_SECONDS = sa.bindparam("seconds", type_=ARRAY(TEXT))
_MEMBERS = compile_statement(
    sa.select(duplicate_sets.c.id, duplicate_sets.c.members).where(
        duplicate_sets.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Uuid)))
    )
)
_OWNERS = {
    collection: compile_statement(
        sa.select(table.c.id, table.c.owner, table.c.team).where(
            table.c.id == sa.any_(sa.bindparam("ids", type_=ARRAY(sa.Uuid)))
        )
    )
    for collection, table in ((CONTACTS, contacts), (ACCOUNTS, accounts))
}
_DISMISS = compile_statement(
    sa.text(
        "INSERT INTO duplicate_dismissals (first, second) SELECT * FROM unnest(:names, :seconds)"
        " ON CONFLICT DO NOTHING"
    ).bindparams(_NAMES, _SECONDS)
)
_DISMISSED = compile_statement(
    sa.text(
        "SELECT d.first, d.second FROM unnest(:names, :seconds) AS asked (first, second)"
        " JOIN duplicate_dismissals d ON d.first = asked.first AND d.second = asked.second"
    ).bindparams(_NAMES, _SECONDS)
)
# Who sorts records into sets does so alone: two at a time could each make a set of the same records.
_HOLD = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('duplicate_sets', 0))")
)


def _in_scope(table: sa.FromClause, scope: RecordScope) -> sa.ColumnElement[bool] | None:
    """The sets of which the caller reaches every member, by scope or as it is shared with them."""
    if scope is RecordScope.ALL:
        return None
    member = sa.func.unnest(table.c.members).table_valued("name", name="member")
    id_ = sa.cast(sa.func.split_part(member.c.name, "/", 2), sa.Uuid)
    reached = [
        sa.exists(
            sa.select(sa.literal(1)).where(
                records.c.id == id_,
                sa.or_(_within(records, scope), shared_with_caller(records.c.id)),
            )
        )
        for records in (contacts, accounts)
    ]
    return ~sa.exists(sa.select(sa.literal(1)).select_from(member).where(~sa.or_(*reached)))


def _within(records: sa.Table, scope: RecordScope) -> sa.ColumnElement[bool]:
    condition = scope_condition(records, scope)
    return sa.true() if condition is None else condition


def _unlimited(call: Call) -> Call:
    """The same work where the record scope is decided here, not in the kit."""
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


def _id(name: str) -> UUID:
    return UUID(name.partition("/")[2])


class DuplicateSets(Collection[DuplicateSet]):
    """The collection: the system makes sets, people decide them."""

    holds_on = False  # what is purged is a duplicate of nothing
    handed_over = sa.false()  # sets are nobody's

    def scope(self, call: Call, permission: str) -> RecordScope:
        """How far a caller reaches: where they may read contacts and accounts as well."""
        readable = [call.principal.require(c.permission("get")) for c in (CONTACTS, ACCOUNTS)]
        return min(super().scope(call, permission), *readable)

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> DuplicateSet:
        """One set whose members all lie within the caller's scope; raises NotFound."""
        found = await super().get(_unlimited(call), name, permission=permission, field=field)
        return await self._reached(call, found, permission or self._required(call))

    async def for_change(
        self,
        call: Call,
        name: str | UUID,
        etag: str = "",
        *,
        deleted: bool = False,
        field: str = "name",
    ) -> DuplicateSet:
        """A set locked for a change, as `get` finds it."""
        free = _unlimited(call)
        found = await super().for_change(free, name, etag, deleted=deleted, field=field)
        return await self._reached(call, found, self._required(call))

    async def _reached(self, call: Call, found: DuplicateSet, permission: str) -> DuplicateSet:
        if await self.within_reach(call, permission, [(found.id, None, None)]):
            return found
        raise self.not_found(self.codec.name_of(found.id))

    async def within_reach(self, call: Call, permission: str, found: Sequence[Found]) -> set[UUID]:
        """Those of some sets with all of whose members the caller may use a permission."""
        scope, ids = self.scope(call, permission), [id_ for id_, _, _ in found]
        if scope is RecordScope.ALL:
            return set(ids)
        sets = await call.reader.fetch_all(_MEMBERS, {"ids": ids})
        wanted = [_id(name) for _, members in sets for name in members]
        reached: set[UUID] = set()
        for collection, statement in _OWNERS.items():
            rows = await call.reader.fetch_all(statement, {"ids": wanted})
            whose: list[Found] = [(row[0], row[1], row[2]) for row in rows]
            of = collection.contract, permission
            reached |= await within_reach(call.reader, call.principal, of, scope, whose)
        return {id_ for id_, members in sets if all(_id(name) in reached for name in members)}

    async def with_members(
        self, call: Call, names: Some[str], state: str = "OPEN"
    ) -> list[DuplicateSet]:
        """The sets in a state that one of some records belongs to, locked for a change."""
        parameters = {"names": list(names), "state": state}
        rows = await call.tx.fetch_all(_WITH_MEMBERS, parameters)
        sets = [self.codec.from_row(row) for row in rows]
        for one in sets:
            call.state[one.id] = (copy(one), self.codec.to_row(one))
        return sets


async def hold_sets(call: Call) -> None:
    """Nobody else sorts records into sets before the transaction ends."""
    await call.tx.fetch_one(_HOLD)


async def keep_dismissed(call: Call, pairs: Iterable[DuplicatePair]) -> None:
    """These pairs are not to be reported again."""
    await call.tx.execute(_DISMISS, _columns(pairs))


async def without_dismissed(call: Call, pairs: Sequence[DuplicatePair]) -> list[DuplicatePair]:
    """The pairs of which nobody has said that they are not the same."""
    rows = await call.tx.fetch_all(_DISMISSED, _columns(pairs))
    dismissed = {(row[0], row[1]) for row in rows}
    return [pair for pair in pairs if pair.names not in dismissed]


def _columns(pairs: Iterable[DuplicatePair]) -> dict[str, list[str]]:
    columns = list(zip(*(pair.names for pair in pairs), strict=True)) or [(), ()]
    return {"names": list(columns[0]), "seconds": list(columns[1])}


DUPLICATE_SETS = DuplicateSets(
    duplicate_pb2.DuplicateSet, DuplicateSet, duplicate_sets, natural_key=""
)
DUPLICATE_SETS.shareable = False  # its members are shared
DUPLICATE_SETS.importable = False
DUPLICATE_SETS.listing = Listing(DUPLICATE_SETS.codec, scoped=_in_scope)
_WITH_MEMBERS = compile_statement(
    sa.select(*DUPLICATE_SETS.codec.columns)
    .where(
        duplicate_sets.c.members.overlap(_NAMES),
        duplicate_sets.c.state == sa.bindparam("state"),
        duplicate_sets.c.delete_time.is_(None),
    )
    .order_by(duplicate_sets.c.id)
    .with_for_update()
)
