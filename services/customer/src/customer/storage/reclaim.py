"""Which accounts pools are to look at: found hour by hour, some at a time, decided one by one."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import ARRAY

from crmkit.call import Call
from crmkit.statements import TIMESTAMP, compile_statement
from customer.domain.customer_pool import CustomerPool
from customer.storage.account import accounts
from customer.storage.customer_pool import teams_above
from customer.storage.touch import account_touches

AT_ONCE = 500
_AFTER = sa.bindparam("after", type_=sa.Uuid)

_touched = account_touches.c
_owned = sa.func.coalesce(_touched.owner_time, accounts.c.create_time)
_LAST = {
    "days_without_interaction": sa.func.greatest(_owned, _touched.interaction_time),
    "days_without_opportunity": sa.func.greatest(_owned, _touched.opportunity_time),
}
_quiet = sa.or_(*(last <= sa.bindparam(name, type_=TIMESTAMP) for name, last in _LAST.items()))
_theirs = sa.or_(
    sa.bindparam("all_teams", type_=sa.Boolean),
    accounts.c.team == sa.any_(sa.bindparam("teams", type_=ARRAY(sa.Uuid))),
)
_exempt = accounts.c.grade == sa.any_(sa.bindparam("exempt_grades", type_=ARRAY(sa.Text)))
_wanted = sa.and_(*(sa.func.coalesce(c, sa.false()) for c in (_quiet, _theirs))) & sa.not_(
    sa.func.coalesce(_exempt, sa.false())
)
_announced = accounts.c.reclaim_time.is_not(None)
_owned_accounts = (
    sa.select(accounts.c.id)
    .select_from(accounts.outerjoin(account_touches, _touched.account == accounts.c.id))
    .where(accounts.c.id > _AFTER, accounts.c.owner.is_not(None), accounts.c.delete_time.is_(None))
    .order_by(accounts.c.id)
    .limit(AT_ONCE)
)
# To be announced, or announced and due; and announced where something has happened meanwhile.
_OF_POOL = compile_statement(
    _owned_accounts.where(
        sa.or_(
            sa.and_(
                _wanted,
                sa.or_(
                    accounts.c.reclaim_time.is_(None),
                    accounts.c.reclaim_time <= sa.bindparam("now", type_=TIMESTAMP),
                ),
            ),
            sa.and_(
                _announced,
                accounts.c.reclaim_pool == sa.bindparam("pool", type_=sa.Uuid),
                sa.not_(_wanted),
            ),
        )
    )
)
_OF_NO_POOL = compile_statement(
    _owned_accounts.where(
        _announced,
        accounts.c.reclaim_pool != sa.all_(sa.bindparam("pools", type_=ARRAY(sa.Uuid))),
    )
)


async def accounts_to_decide(call: Call, pool: CustomerPool, after: UUID) -> list[UUID]:
    """The next accounts, by their ids, that a pool perhaps takes, announces or leaves alone again."""
    rows = await call.tx.fetch_all(_OF_POOL, {**_rules(call, pool), "after": after})
    return [row[0] for row in rows]


async def accounts_of_no_pool(call: Call, pools: Sequence[UUID], after: UUID) -> list[UUID]:
    """The next accounts that were announced to a pool that is none of these."""
    rows = await call.tx.fetch_all(_OF_NO_POOL, {"pools": list(pools), "after": after})
    return [row[0] for row in rows]


def _rules(call: Call, pool: CustomerPool) -> Mapping[str, Any]:
    """A pool's rules as parameters: since when an account must have been quiet to be announced today."""
    rights = call.home.rights
    teams = [team for team in rights.parents if pool.is_open_to(teams_above(rights, team))]
    quiet = {
        name: None if days is None else call.now + pool.notice - timedelta(days=days)
        for name, days in ((name, getattr(pool, name)) for name in _LAST)
    }
    return {
        **quiet,
        "all_teams": not pool.teams,
        "teams": teams,
        "exempt_grades": pool.exempt_grades,
        "pool": pool.id,
        "now": call.now,
    }
