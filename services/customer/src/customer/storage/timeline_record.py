"""What timelines know of other services' records: whose they are, which customer's, and how they stand.

Kept from those services' events. A record that is gone for good leaves its id, so that an event which is read
late brings nothing of it back.
"""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.access import RecordScope, scope_condition, scope_parameters
from crmkit.call import Call
from crmkit.statements import TEXT, Statement, compile_statement, money_columns
from customer.storage.contact import contacts
from customer.storage.schema import CUSTOMER

timeline_records = sa.Table(
    "timeline_records",
    CUSTOMER,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("purged", sa.Boolean, nullable=False),
    sa.Column("account", sa.Uuid),
    sa.Column("account_as_recorded", sa.Uuid),
    sa.Column("contact", sa.Uuid),
    sa.Column("contact_as_recorded", sa.Uuid),
    sa.Column("title", TEXT),
    sa.Column("state", TEXT),
    *money_columns("amount"),
    sa.Index("ix_timeline_records_account", "account", "collection", "state"),
    sa.Index("ix_timeline_records_contact", "contact", "collection", "state"),
    sa.Index(
        "ix_timeline_records_account_merged",
        "account_as_recorded",
        postgresql_where=sa.text("account <> account_as_recorded"),
    ),
    sa.Index(
        "ix_timeline_records_contact_merged",
        "contact_as_recorded",
        postgresql_where=sa.text("contact <> contact_as_recorded"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class TimelineRecord:
    """Another service's record as its latest event left it.

    Attributes:
        version: The record's, so that an older event which is read later changes nothing.
        purged: True once it is gone for good.
        account: The account that it belongs to now; `account_as_recorded` before merges.
        title: What people call it; never personal data.
    """

    id: UUID
    collection: str
    version: int
    owner: UUID | None = None
    team: UUID | None = None
    deleted: bool = False
    purged: bool = False
    account: UUID | None = None
    account_as_recorded: UUID | None = None
    contact: UUID | None = None
    contact_as_recorded: UUID | None = None
    title: str | None = None
    state: str | None = None
    amount: Decimal | None = None
    amount_currency: str | None = None

    @property
    def parties(self) -> tuple[UUID | None, ...]:
        """Whose timelines it stands in."""
        return self.account, self.account_as_recorded, self.contact, self.contact_as_recorded

    @property
    def rights(self) -> tuple[UUID | None, UUID | None, bool]:
        """What says who sees it."""
        return self.owner, self.team, self.deleted


_NAMES = tuple(field.name for field in fields(TimelineRecord))
_t = timeline_records.c
_GET = compile_statement(
    sa.select(*(_t[name] for name in _NAMES)).where(_t.id == sa.bindparam("id", type_=sa.Uuid))
)


_ACCOUNT_OF = compile_statement(
    sa.select(contacts.c.account).where(contacts.c.id == sa.bindparam("id", type_=sa.Uuid))
)


def _put() -> Statement:
    values = {c.name: sa.bindparam(c.name, type_=c.type) for c in timeline_records.columns}
    statement = insert(timeline_records).values(values)
    changes = {n: statement.excluded[n] for n in _NAMES if n != "id"}
    return compile_statement(statement.on_conflict_do_update(index_elements=["id"], set_=changes))


_PUT = _put()


async def known(call: Call, id_: UUID) -> TimelineRecord | None:
    """What is known of a record; None where no event of it was read."""
    row = await call.tx.fetch_one(_GET, {"id": id_})
    return TimelineRecord(**dict(zip(_NAMES, row, strict=True))) if row is not None else None


async def put(call: Call, record: TimelineRecord) -> None:
    """Keeps what an event says of a record."""
    await call.tx.execute(_PUT, {name: getattr(record, name) for name in _NAMES})


async def account_of(call: Call, contact: UUID) -> UUID | None:
    """The account that a person belongs to first."""
    row = await call.tx.fetch_one(_ACCOUNT_OF, {"id": contact})
    return row[0] if row is not None else None


# -- figures


@dataclass(frozen=True)
class Figure:
    """How many records of a state there are, and what they are worth in one currency."""

    state: str
    currency: str | None
    count: int
    amount: Decimal | None


@lru_cache(maxsize=32)
def _figures(collection: str, party: str, scope: RecordScope) -> Statement:
    query = sa.select(_t.state, _t.amount_currency, sa.func.count(), sa.func.sum(_t.amount)).where(
        _t[party] == sa.bindparam("party", type_=sa.Uuid),
        _t.collection == sa.literal_column(f"'{collection}'"),
        _t.deleted.is_(False),
    )
    within = scope_condition(timeline_records, scope)
    if within is not None:
        query = query.where(within)
    return compile_statement(query.group_by(_t.state, _t.amount_currency))


async def figures(call: Call, collection: str, party: Mapping[str, UUID]) -> list[Figure] | None:
    """The records of an account or a contact by state and currency, within the caller's scope.

    Args:
        call: The work at hand.
        collection: `opportunities` or `tickets`.
        party: The column that names whose, and the id.

    Returns:
        None where the caller may read none of them, whosever they are.
    """
    service = {"opportunities": "sales", "tickets": "support"}[collection]
    scope = call.principal.grants.scope(f"{service}.{collection}.get")
    if scope is RecordScope.NONE:
        return None
    ((column, id_),) = party.items()
    parameters: dict[str, Any] = {"party": id_, **scope_parameters(call.principal, scope)}
    rows = await call.reader.fetch_all(_figures(collection, column, scope), parameters)
    return [Figure(*row) for row in rows]
