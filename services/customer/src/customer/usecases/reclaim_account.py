"""The jobs of customer pools: each hour one looks for accounts that nothing happens with, others decide.

What a job does commits with its end, and promises have ids that the hour gives: several processes, and a
repeat after a crash, do it once. The hour promises the next before anything is looked for, so that no fault
ends it.
"""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.errors import NotFound
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from customer.domain.account import Account
from customer.domain.customer_pool import CustomerPool, Touches
from customer.storage.account import ACCOUNTS
from customer.storage.customer_pool import active_pools, hold_pool, teams_above
from customer.storage.reclaim import AT_ONCE, accounts_of_no_pool, accounts_to_decide
from customer.storage.touch import forget_purged, hold_touches
from customer.usecases.pool_account import put_into_pool

HOUR, SCAN, RECLAIM = "pools_hour", "scan_for_pools", "reclaim_account"  # the kinds of the jobs
_HOURS = UUID("6f1d3c0a-4a55-4d6e-9d0b-2f2b1e7c9a41")
_FIRST = str(UUID(int=0))
_NO_POOL = "~"  # after all pools: what was announced to a pool that takes nothing any more


async def promise_hours(call: Call) -> None:
    """Begins the hours, or goes on with them: this one at once, whenever a process starts."""
    await _promise(call, _hour(call.now), None)


async def _promise(call: Call, hour: datetime, due: datetime | None) -> None:
    await enqueue(call.tx, HOUR, {}, due, uuid5_of(_HOURS, hour.isoformat()))


def _hour(time: datetime) -> datetime:
    return time.replace(minute=0, second=0, microsecond=0)


async def begin_hour(call: Call, _arguments: dict[str, Any]) -> None:
    """Promises this hour's search, and the next hour."""
    hour = _hour(call.now)
    following = hour + timedelta(hours=1)
    await enqueue(call.tx, SCAN, {"hour": hour.isoformat()})
    await _promise(call, following, following)


async def scan_for_pools(call: Call, arguments: dict[str, Any]) -> None:
    """Promises a decision on the next accounts, and its own continuation until there are no more."""
    pools = {str(p.id): p for p in await active_pools(call) if p.has_rules}
    place, after = arguments.get("pool", ""), arguments.get("after", _FIRST)
    for key in [*sorted(pools), _NO_POOL]:
        if key < place:
            continue
        start = UUID(after if key == place else _FIRST)
        if key == _NO_POOL:
            found = await accounts_of_no_pool(call, [p.id for p in pools.values()], start)
        else:
            found = await accounts_to_decide(call, pools[key], start)
        for account in found:
            decision = uuid5_of(account, f"reclaim {arguments['hour']}")
            await enqueue(call.tx, RECLAIM, {"account": str(account)}, job_id=decision)
        if len(found) == AT_ONCE:
            rest = {"hour": arguments["hour"], "pool": key, "after": str(found[-1])}
            await enqueue(call.tx, SCAN, rest)
            return
    await forget_purged(call)


async def reclaim_account(call: Call, arguments: dict[str, Any]) -> None:
    """Decides on one account by what is true now: whatever happened since it was found counts.

    The account and its touches are locked: something that happens at the same time comes before, and the
    account stays, or after, when the account is in the pool.
    """
    try:
        account = await ACCOUNTS.for_change(call, UUID(arguments["account"]), deleted=True)
    except NotFound:  # purged meanwhile
        return
    if account.owner is None or account.delete_time is not None:
        return
    touches = await hold_touches(call, account)
    pool, due = await _first_broken(call, account, touches)
    pool_id, notice = (pool.id, pool.notice) if pool else (None, timedelta(0))
    if account.fall_due(pool_id, due, notice, call.now) and pool is not None:
        await hold_pool(call, pool.id, "pool")
        await put_into_pool(call, account, pool.id, automatic=True)
    else:
        await ACCOUNTS.save(call, account)


async def _first_broken(
    call: Call, account: Account, touches: Touches
) -> tuple[CustomerPool | None, datetime | None]:
    """The pool that an account of its teams breaks a rule of first, and when; of several the oldest."""
    teams = teams_above(call.home.rights, account.team)
    found: tuple[CustomerPool | None, datetime | None] = None, None
    for pool in await active_pools(call):
        due = pool.due_time(account.grade, touches) if pool.is_open_to(teams) else None
        if due is not None and (found[1] is None or due < found[1]):
            found = pool, due
    return found
