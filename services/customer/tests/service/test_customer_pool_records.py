"""Customer pools over gRPC: who makes and changes them, and when they can go."""

import asyncio
from typing import Any

import grpc
import pytest

from crm.common.v1 import (
    import_pb2,
)
from crm.customer.v1 import (
    account_pb2,
    customer_pool_pb2,
    import_pb2_grpc,
)
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .customer_pools import (
    OWN,
    CustomerPool,
    accounts,
    file_of,
    get_account,
    make_account,
    make_pool,
    pools,
    refusal,
    release,
    unique,
)


async def change_pool(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    pool = CustomerPool(name=name, **fields)
    request = customer_pool_pb2.UpdateCustomerPoolRequest(customer_pool=pool)
    return await pools(customer).UpdateCustomerPool(request, metadata=person.metadata)


async def test_pools_are_changed_by_who_may_change_all(customer: ServiceUnderTest) -> None:
    """INVARIANT: nobody with a narrower scope decides on what others lose; everybody reads them."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    pool = await make_pool(customer, boss, unique(), days_without_interaction=30)
    assert pool.warning_days == 3
    for attempt in (
        make_pool(customer, ada, unique()),
        change_pool(customer, ada, pool.name, claim_limit=9),
        pools(customer).DeleteCustomerPool(
            customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=ada.metadata
        ),
    ):
        assert (await refusal(attempt))[0] == grpc.StatusCode.PERMISSION_DENIED
    request = customer_pool_pb2.GetCustomerPoolRequest(name=pool.name)
    assert await pools(customer).GetCustomerPool(request, metadata=ada.metadata) == pool


@pytest.mark.parametrize(
    ("fields", "at_fault"),
    [
        ({"days_without_interaction": 0}, "customer_pool.days_without_interaction"),
        ({"days_without_interaction": 2}, "customer_pool.days_without_interaction"),
        ({"warning_days": 91}, "customer_pool.warning_days"),
        ({"exempt_grades": [9]}, "customer_pool.exempt_grades"),
        ({"claim_limit": -1}, "customer_pool.claim_limit"),
        ({"teams": ["teams/1"]}, "customer_pool.teams"),
    ],
)
async def test_what_makes_no_pool_is_refused(
    customer: ServiceUnderTest, fields: dict[str, Any], at_fault: str
) -> None:
    """The field at fault is named."""
    boss = await customer.person("*")
    _, _, details = await refusal(make_pool(customer, boss, unique(), **fields))
    assert [field.partition("[")[0] for field in details["fields"]] == [at_fault]


async def test_a_pool_with_accounts_in_it_is_not_deleted(customer: ServiceUnderTest) -> None:
    """INVARIANT: no account waits where nobody finds it; not for a release at the same time either."""
    boss = await customer.person("*")
    for _ in range(5):
        pool = await make_pool(customer, boss, unique())
        account = await make_account(customer, boss)
        delete = pools(customer).DeleteCustomerPool(
            customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name), metadata=boss.metadata
        )
        answers = await asyncio.gather(
            release(customer, boss, account, pool.name), delete, return_exceptions=True
        )
        refused = [details_of(a)["reason"] for a in answers if isinstance(a, grpc.RpcError)]
        assert refused in (["POOL_IN_USE"], ["REFERENCE_DELETED"])
        found = await get_account(customer, boss, account)
        assert found.pool == (pool.name if refused == ["POOL_IN_USE"] else "")


async def test_what_is_in_the_trash_does_not_keep_a_pool(customer: ServiceUnderTest) -> None:
    """Nobody could move it: an account that is deleted or was merged is in nobody's way."""
    boss = await customer.person("*")
    pool = await make_pool(customer, boss, unique())
    account = await make_account(customer, boss)
    await release(customer, boss, account, pool.name)
    gone = account_pb2.DeleteAccountRequest(name=account)
    await accounts(customer).DeleteAccount(gone, metadata=boss.metadata)
    delete = customer_pool_pb2.DeleteCustomerPoolRequest(name=pool.name)
    deleted = await pools(customer).DeleteCustomerPool(delete, metadata=boss.metadata)
    assert deleted.HasField("delete_time")


async def test_pools_come_from_files_and_go_into_files(customer: ServiceUnderTest) -> None:
    """What is wrong is a row's problem; who may not change pools brings none in either."""
    boss, ada = await customer.person("*"), await customer.person(OWN)
    good = unique()
    content = f"display_name,days_without_interaction,claim_limit\n{good},30,5\n,30,5\n"
    run = await imported(customer, boss, content)
    assert (run.created_count, run.failed_count) == (1, 1)
    text = await file_of(
        customer, boss, resource="customerPools", filter=f'display_name = "{good}"',
        fields=["display_name", "days_without_interaction", "warning_days"],
    )  # fmt: skip
    assert text.splitlines()[1] == f"{good},30,3"
    refused = await imported(customer, ada, f"display_name\n{unique()}\n")
    assert (refused.created_count, refused.failed_count) == (0, 1)


async def imported(customer: ServiceUnderTest, person: Person, content: str) -> Any:
    stub: Any = import_pb2_grpc.ImportServiceStub(customer.channel)
    request = import_pb2.CreateUploadRequest()
    request.file.data = content.encode()
    upload = await stub.CreateUpload(iter([request]), metadata=person.metadata)
    wanted = import_pb2.Import(resource="customerPools", upload=upload.name)
    for column in content.split("\n", 1)[0].split(","):
        wanted.mappings.add(column=column, field=column)
    run = await stub.CreateImport(
        import_pb2.CreateImportRequest(**{"import": wanted}), metadata=person.metadata
    )

    async def ended() -> Any:
        found = await stub.GetImport(
            import_pb2.GetImportRequest(name=run.name), metadata=person.metadata
        )
        return found if found.HasField("end_time") else None

    return await eventually(ended)
