"""Customer pools that take accounts by themselves: once, whatever happens at the same time."""

import asyncio
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from crmkit.call import Call
from crmkit.clock import clock
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest
from customer.storage import reclaim
from customer.usecases import reclaim_account as jobs

from .reclaims import after, get_account, hour, make_account, make_pool, touch, work


async def decide(customer: ServiceUnderTest, name: str) -> Call:
    """The decision on one account, not yet committed."""
    call = work(customer)
    await jobs.reclaim_account(call, {"account": name.partition("/")[2]})
    return call


async def test_something_that_happens_while_it_is_decided_comes_first_or_after(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: no account is taken that was touched before; whoever is first makes the other wait."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    early, late = [await make_account(customer, ada) for _ in range(2)]
    with after(28):
        await hour(customer)
    with after(32):
        touching = work(customer)
        await touch(touching, early)
        deciding = asyncio.create_task(decide(customer, early))
        await waits_for_lock(customer)
        await touching.tx.commit()
        call = await deciding
        await call.tx.commit()
        assert (await get_account(customer, early)).pool == ""

        call = await decide(customer, late)
        touching = work(customer)
        recording = asyncio.create_task(touch(touching, late))
        await waits_for_lock(customer)
        await call.tx.commit()
        await recording
        await touching.tx.commit()
        assert (await get_account(customer, late)).pool == pool
        for ended in (call, touching):
            await ended.tx.end()


async def waits_for_lock(customer: ServiceUnderTest) -> None:
    waiting = compile_statement(
        sa.text(
            "SELECT count(*) FROM pg_stat_activity"
            " WHERE datname = current_database() AND wait_event_type = 'Lock'"
        )
    )

    async def somebody_waits() -> bool:
        row = await customer.database.fetch_one(waiting)
        return bool(row and row[0])

    await eventually(somebody_waits)


async def test_several_processes_take_it_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: one version, one event, however many look at the same hour and decide at once."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    account = await make_account(customer, ada)
    with after(28):
        await asyncio.gather(*(hour(customer) for _ in range(3)))
    with after(32):
        await asyncio.gather(
            *(hour(customer) for _ in range(3)), *(taken(customer, account) for _ in range(3))
        )
    found = await get_account(customer, account)
    assert (found.pool, found.etag) == (pool, '"3"')
    assert len(await customer.events(account, count=3)) == 3


async def taken(customer: ServiceUnderTest, account: str) -> None:
    call = await decide(customer, account)
    await call.tx.commit()
    await call.tx.end()


async def test_a_search_goes_on_where_it_stood(
    customer: ServiceUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some accounts at a time, each step with a promise of the next: a crash loses and repeats nothing."""
    pool, ada = await make_pool(customer, days_without_interaction=30)
    names = [await make_account(customer, ada) for _ in range(7)]
    few = compile_statement(sa.select(sa.func.count()).where(JOB.c.kind == jobs.SCAN))
    monkeypatch.setattr(jobs, "AT_ONCE", 2)
    monkeypatch.setattr(reclaim, "_OF_POOL", limited(2))
    with after(29):
        call = work(customer)
        await jobs.scan_for_pools(
            call, {"hour": clock.now().isoformat(), "pool": pool.partition("/")[2]}
        )
        row = await call.tx.fetch_one(few)
        assert row is not None
        assert row[0] == 1  # its continuation
        await call.tx.commit()
        await hour(customer)
        for name in names:
            assert (await get_account(customer, name)).reclaim_pool == pool


def limited(count: int) -> Any:
    statement = reclaim._OF_POOL
    return type(statement)(statement.sql, {**statement.constants, "param_1": count})


async def test_the_hours_go_on(customer: ServiceUnderTest) -> None:
    """INVARIANT: each hour promises the next, once; a start begins again where nothing is promised."""
    promised = compile_statement(
        sa.select(JOB.c.id).where(JOB.c.kind == jobs.HOUR, JOB.c.due_time > sa.func.now())
    )

    async def next_hour() -> list[UUID]:
        return [row[0] for row in await customer.database.fetch_all(promised)]

    first = await eventually(next_hour)
    await hour(customer)
    call = work(customer)
    await jobs.promise_hours(call)
    await call.tx.commit()
    assert set(first) <= set(await next_hour())
