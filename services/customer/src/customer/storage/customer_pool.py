"""Where customer pools are kept, and what they owe to the accounts in them."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crm.customer.v1 import customer_pool_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import FailedPrecondition, NotFound, PermissionDenied
from crmkit.ids import uuid7
from crmkit.rights import Rights
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from customer.domain.customer_pool import CustomerPool
from customer.storage.schema import CUSTOMER

customer_pools = record_table(
    "customer_pools",
    CUSTOMER,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("teams", ARRAY(sa.Uuid), nullable=False),
    sa.Column("days_without_interaction", sa.Integer),
    sa.Column("days_without_opportunity", sa.Integer),
    sa.Column("warning_days", sa.Integer, nullable=False),
    sa.Column("exempt_grades", ARRAY(TEXT), nullable=False),
    sa.Column("claim_limit", sa.Integer),
    sa.Column("claim_limit_per_day", sa.Integer),
    sa.Index(
        "uq_customer_pools_display_name",
        "display_name",
        unique=True,
        postgresql_where=sa.text("delete_time IS NULL"),
    ),
)
# Who claimed what and when: what limits are counted by, also when they gave it back.
account_claims = sa.Table(
    "account_claims",
    CUSTOMER,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("pool", sa.Uuid, nullable=False),
    sa.Column("user", sa.Uuid, nullable=False),
    sa.Column("account", sa.Uuid, nullable=False),
    sa.Column("claim_time", TIMESTAMP, nullable=False),
    sa.Index("ix_account_claims_user", "user", "pool", "claim_time"),
)

_POOL = sa.bindparam("pool", type_=sa.Uuid)
_HOLD = compile_statement(
    sa.select(customer_pools.c.delete_time)
    .where(customer_pools.c.id == _POOL)
    .with_for_update(read=True)
)
_IN_USE = compile_statement(
    sa.text(
        "SELECT id FROM accounts WHERE pool = :pool AND delete_time IS NULL LIMIT 1"
    ).bindparams(_POOL)
)
_ACTIVE = compile_statement(
    sa.select(customer_pools.c.id)
    .where(customer_pools.c.delete_time.is_(None))
    .order_by(customer_pools.c.id)
)
_USER = sa.bindparam("user", type_=sa.Uuid)
# Of one user's claims one is decided at a time: none is counted before another that came first.
_HOLD_CLAIMS = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('claims of ' || :user, 0))")
)
_OWNED = compile_statement(
    sa.text(
        "SELECT count(*) FROM accounts"
        " WHERE owner = :user AND claim_pool = :pool AND delete_time IS NULL"
    ).bindparams(_USER, _POOL)
)
_CLAIMED_SINCE = compile_statement(
    sa.select(sa.func.count()).where(
        account_claims.c.user == _USER,
        account_claims.c.pool == _POOL,
        account_claims.c.claim_time >= sa.bindparam("since", type_=TIMESTAMP),
    )
)
_NOTE_CLAIM = compile_statement(account_claims.insert())


async def settle_pool(call: Call, after: CustomerPool, before: CustomerPool | None) -> None:
    """Pools are everybody's: whoever changes one may change all. One with accounts in it stays."""
    permission = CUSTOMER_POOLS.permission("create" if before is None else "update")
    if call.principal.require(permission) is not RecordScope.ALL:
        msg = "Customer pools concern everyone; this needs the permission with scope ALL."
        raise PermissionDenied(msg, metadata={"permission": permission})
    deleted = after.delete_time is not None and before is not None and before.delete_time is None
    if deleted and await call.tx.fetch_one(_IN_USE, {"pool": after.id}) is not None:
        msg = "There are accounts in the pool; move them first."
        raise FailedPrecondition(msg, reason="POOL_IN_USE")


CUSTOMER_POOLS = Collection(
    customer_pool_pb2.CustomerPool, CustomerPool, customer_pools, rule=settle_pool
)


async def hold_pool(call: Call, pool: UUID, field: str) -> None:
    """Keeps a pool from being deleted until the transaction ends.

    Raises:
        NotFound: `REFERENCE_NOT_FOUND`, naming the field.
        FailedPrecondition: `REFERENCE_DELETED`, naming the field.
    """
    row = await call.tx.fetch_one(_HOLD, {"pool": pool})
    if row is None:
        msg = f"{field} refers to customerPools/{pool}, which does not exist."
        raise NotFound(msg, reason="REFERENCE_NOT_FOUND", field=field)
    if row[0] is not None:
        msg = f"{field} refers to customerPools/{pool}, which is deleted."
        raise FailedPrecondition(msg, reason="REFERENCE_DELETED", field=field)


async def active_pools(call: Call) -> list[CustomerPool]:
    """Every pool that is not deleted, the oldest first."""
    rows = await call.reader.fetch_all(_ACTIVE)
    found = await CUSTOMER_POOLS.get_many(call, [row[0] for row in rows])
    return sorted(found, key=lambda pool: pool.id)


def teams_above(rights: Rights, team: UUID | None) -> list[UUID]:
    """A team and the teams that it is part of."""
    found: list[UUID] = []
    while team is not None and team not in found:
        found.append(team)
        team = rights.parents.get(team)
    return found


async def hold_claims(call: Call, user: UUID) -> None:
    """Makes other claims of a user wait until the transaction ends."""
    await call.tx.fetch_one(_HOLD_CLAIMS, {"user": str(user)})


async def refuse_beyond_limits(call: Call, pool: CustomerPool, user: UUID, day: datetime) -> None:
    """Raises FailedPrecondition `CLAIM_LIMIT_REACHED`; `day` is when today began."""
    of_user = {"user": user, "pool": pool.id}
    owned = await call.tx.fetch_one(_OWNED, of_user)
    today = await call.tx.fetch_one(_CLAIMED_SINCE, {**of_user, "since": day})
    pool.admit(owned[0] if owned else 0, today[0] if today else 0)


async def note_claim(call: Call, pool: UUID, user: UUID, account: UUID) -> None:
    """Keeps that somebody claimed an account."""
    row = {"id": uuid7(), "pool": pool, "user": user, "account": account, "claim_time": call.now}
    await call.tx.execute(_NOTE_CLAIM, row)
