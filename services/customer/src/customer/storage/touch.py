"""When something last happened with an account: what pools take accounts by.

Kept beside the accounts, for it changes with every interaction and is no version of the account. Its row is
what decides between a pool and somebody who does something at the same time: whoever has it first.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY, insert

from crmkit.call import Call
from crmkit.names import parse_name
from crmkit.statements import TIMESTAMP, Statement, compile_statement
from customer.domain.account import Account
from customer.domain.customer_pool import Touches
from customer.domain.interaction import Interaction
from customer.storage.schema import CUSTOMER

# No foreign key: what happens with an account does not wait for whoever changes it.
account_touches = sa.Table(
    "account_touches",
    CUSTOMER,
    sa.Column("account", sa.Uuid, primary_key=True),
    sa.Column("owner_time", TIMESTAMP),
    sa.Column("interaction_time", TIMESTAMP),
    sa.Column("opportunity_time", TIMESTAMP),
)

_ACCOUNT = sa.bindparam("account", type_=sa.Uuid)


_INTERACTED = compile_statement(
    sa.text(
        "WITH touched (account, time) AS ("
        " SELECT * FROM unnest(CAST(:accounts AS uuid[]), CAST(:account_times AS timestamptz[]))"
        " UNION ALL SELECT c.account, t.time"
        " FROM unnest(CAST(:contacts AS uuid[]), CAST(:contact_times AS timestamptz[]))"
        " AS t (contact, time) JOIN contacts c ON c.id = t.contact WHERE c.account IS NOT NULL)"
        " INSERT INTO account_touches (account, interaction_time)"
        " SELECT account, max(time) FROM touched GROUP BY account ORDER BY account"
        " ON CONFLICT (account) DO UPDATE SET interaction_time ="
        " greatest(account_touches.interaction_time, excluded.interaction_time)"
    ).bindparams(
        sa.bindparam("accounts", type_=ARRAY(sa.Uuid)),
        sa.bindparam("account_times", type_=ARRAY(TIMESTAMP)),
        sa.bindparam("contacts", type_=ARRAY(sa.Uuid)),
        sa.bindparam("contact_times", type_=ARRAY(TIMESTAMP)),
    )
)


def _put(column: str) -> Statement:
    new = insert(account_touches).values(
        {"account": _ACCOUNT, column: sa.bindparam("time", type_=TIMESTAMP)}
    )
    latest = sa.func.greatest(account_touches.c[column], new.excluded[column])
    return compile_statement(
        new.on_conflict_do_update(index_elements=["account"], set_={column: latest})
    )


_NEW_OWNER, _OPPORTUNITY = _put("owner_time"), _put("opportunity_time")
_new = insert(account_touches).values({"account": _ACCOUNT})
# Also where there is none yet: who touches the account now waits, or was faster and is seen.
_HOLD = compile_statement(
    _new.on_conflict_do_update(
        index_elements=["account"], set_={"account": _new.excluded.account}
    ).returning(
        account_touches.c.owner_time,
        account_touches.c.interaction_time,
        account_touches.c.opportunity_time,
    )
)
_TIMES = ("owner_time", "interaction_time", "opportunity_time")
_TAKE_OVER = compile_statement(
    sa.text(
        f"INSERT INTO account_touches (account, {', '.join(_TIMES)})"  # noqa: S608 - our own names
        f" SELECT :account, {', '.join(f'max({name})' for name in _TIMES)}"
        " FROM account_touches WHERE account = ANY (:merged)"
        " ON CONFLICT (account) DO UPDATE SET "
        + ", ".join(f"{n} = greatest(account_touches.{n}, excluded.{n})" for n in _TIMES)
    ).bindparams(_ACCOUNT, sa.bindparam("merged", type_=ARRAY(sa.Uuid)))
)
_FORGET_PURGED = compile_statement(
    sa.text(
        "DELETE FROM account_touches t WHERE NOT EXISTS (SELECT FROM accounts a WHERE a.id = t.account)"
    )
)


async def touch_by_interactions(call: Call, interactions: Iterable[Interaction]) -> None:
    """Notes what happened for the accounts that interactions are about, and for those of their contacts."""
    accounts: list[tuple[UUID, datetime]] = []
    contacts: list[tuple[UUID, datetime]] = []
    for interaction in interactions:
        assert interaction.occur_time is not None
        for name in {*interaction.related, *interaction.participants}:
            collection = name.partition("/")[0]
            into = {"accounts": accounts, "contacts": contacts}.get(collection)
            if into is not None:
                id_ = parse_name(name, collection=collection, field="related")
                into.append((id_, interaction.occur_time))
    if accounts or contacts:
        parameters = {
            "accounts": [id_ for id_, _ in accounts],
            "account_times": [time for _, time in accounts],
            "contacts": [id_ for id_, _ in contacts],
            "contact_times": [time for _, time in contacts],
        }
        await call.tx.execute(_INTERACTED, parameters)


async def touch_by_opportunity(call: Call, account: UUID, time: datetime) -> None:
    """Notes that an opportunity of an account was begun, moved or ended."""
    await call.tx.execute(_OPPORTUNITY, {"account": account, "time": time})


async def note_new_owner(call: Call, account: UUID) -> None:
    """Notes that an account got another owner now."""
    await call.tx.execute(_NEW_OWNER, {"account": account, "time": call.now})


async def take_over_touches(call: Call, survivor: UUID, merged: Sequence[UUID]) -> None:
    """What happened with accounts that are merged has happened with their survivor; it stays so."""
    await call.tx.execute(_TAKE_OVER, {"account": survivor, "merged": list(merged)})


async def hold_touches(call: Call, account: Account) -> Touches:
    """When something last happened with an account; until the transaction ends nothing more does."""
    row: Sequence[datetime | None] | None = await call.tx.fetch_one(_HOLD, {"account": account.id})
    owned, interaction, opportunity = row or (None, None, None)
    return Touches(owned or account.create_time, interaction, opportunity)


async def forget_purged(call: Call) -> None:
    """Removes what is kept of accounts that are no more."""
    await call.tx.execute(_FORGET_PURGED)
