"""Time that passes, and the jobs that then take accounts, for the tests of reclaiming.

Time is the clock's, which the tests move. The jobs are what the service runs every hour.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa

from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    customer_pool_pb2,
    customer_pool_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import Call, new_call
from crmkit.clock import clock
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest
from customer.domain.interaction import Interaction
from customer.storage.touch import touch_by_interactions
from customer.usecases import reclaim_account as jobs

Account = account_pb2.Account


def accounts(customer: ServiceUnderTest) -> Any:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


async def make_account(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    account = Account(**{"display_name": "Acme", **fields})
    request = account_pb2.CreateAccountRequest(account=account)
    return str((await accounts(customer).CreateAccount(request, metadata=person.metadata)).name)


async def get_account(customer: ServiceUnderTest, name: str) -> Any:
    boss = await customer.person("*")
    request = account_pb2.GetAccountRequest(name=name)
    return await accounts(customer).GetAccount(request, metadata=boss.metadata)


async def make_pool(customer: ServiceUnderTest, **fields: Any) -> tuple[str, Person]:
    """A pool for a team of its own, and somebody who works there."""
    boss, team = await customer.person("*"), await customer.team()
    pool = customer_pool_pb2.CustomerPool(
        display_name=f"East {uuid4()}", teams=[f"teams/{team}"], **fields
    )
    stub = customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)
    request = customer_pool_pb2.CreateCustomerPoolRequest(customer_pool=pool)
    made = await stub.CreateCustomerPool(request, metadata=boss.metadata)
    return made.name, await customer.person(("customer.*", "OWN"), team=team)


@contextmanager
def after(days: float) -> Iterator[None]:
    with clock.shifted(timedelta(days=days)):
        yield


def work(customer: ServiceUnderTest) -> Call:
    return new_call(customer.running.home, service_principal("customer"))


async def hour(customer: ServiceUnderTest) -> None:
    """What the service does in an hour: returns when all that was promised is done."""
    call = work(customer)
    await jobs.begin_hour(call, {})
    await call.tx.commit()
    ahead = sa.func.now() + timedelta(minutes=30)  # the next hour is not to come
    mine = JOB.c.kind.in_([jobs.SCAN, jobs.RECLAIM])
    waiting = compile_statement(
        sa.select(JOB.c.id, JOB.c.error).where(mine, JOB.c.due_time < ahead)
    )

    async def nothing_is_left() -> bool:
        return not await customer.database.fetch_all(waiting)

    await eventually(nothing_is_left)


async def touch(call: Call, account: str) -> None:
    happened = Interaction(
        id=uuid4(), create_time=call.now, update_time=call.now, related=[account],
        occur_time=call.now,
    )  # fmt: skip
    await touch_by_interactions(call, [happened])
    await call.tx.fetch_one(compile_statement(sa.text("SELECT 1")))  # until it was written
