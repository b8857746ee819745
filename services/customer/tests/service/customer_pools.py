"""Pools and accounts that go into them, for the tests of customer pools."""

from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import (
    export_pb2,
)
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    customer_pool_pb2,
    customer_pool_pb2_grpc,
    export_pb2_grpc,
)
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

OWN = ("customer.*", "OWN")
Account, CustomerPool = account_pb2.Account, customer_pool_pb2.CustomerPool


def accounts(customer: ServiceUnderTest) -> Any:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


def pools(customer: ServiceUnderTest) -> Any:
    return customer_pool_pb2_grpc.CustomerPoolServiceStub(customer.channel)


async def make_pool(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    pool = CustomerPool(display_name=name, **fields)
    request = customer_pool_pb2.CreateCustomerPoolRequest(customer_pool=pool)
    return await pools(customer).CreateCustomerPool(request, metadata=person.metadata)


async def make_account(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    account = Account(**{"display_name": "Acme", **fields})
    request = account_pb2.CreateAccountRequest(account=account)
    made = await accounts(customer).CreateAccount(request, metadata=person.metadata)
    return str(made.name)


async def get_account(customer: ServiceUnderTest, person: Person, name: str) -> Any:
    request = account_pb2.GetAccountRequest(name=name)
    return await accounts(customer).GetAccount(request, metadata=person.metadata)


async def listed(customer: ServiceUnderTest, person: Person, filter_: str = "") -> set[str]:
    request = account_pb2.ListAccountsRequest(filter=filter_, page_size=1000)
    page = await accounts(customer).ListAccounts(request, metadata=person.metadata)
    return {account.name for account in page.accounts}


async def release(
    customer: ServiceUnderTest, person: Person, name: str, pool: str, **fields: Any
) -> Any:
    request = account_pb2.ReleaseAccountToPoolRequest(name=name, pool=pool, **fields)
    return await accounts(customer).ReleaseAccountToPool(request, metadata=person.metadata)


async def claim(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Any:
    request = account_pb2.ClaimAccountRequest(name=name, **fields)
    return await accounts(customer).ClaimAccount(request, metadata=person.metadata)


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, dict[str, Any]]:
    """Status, reason and details of a call that is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details


def contacts(customer: ServiceUnderTest) -> Any:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def make_contact(customer: ServiceUnderTest, person: Person, account: str) -> str:
    contact = contact_pb2.Contact(given_name="Ada", account=account)
    request = contact_pb2.CreateContactRequest(contact=contact)
    made = await contacts(customer).CreateContact(request, metadata=person.metadata)
    return str(made.name)


async def get_contact(customer: ServiceUnderTest, person: Person, name: str) -> Any:
    request = contact_pb2.GetContactRequest(name=name)
    return await contacts(customer).GetContact(request, metadata=person.metadata)


def unique(name: str = "East") -> str:
    return f"{name} {uuid4()}"


async def file_of(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    exports = export_pb2_grpc.ExportServiceStub(customer.channel)
    export = export_pb2.Export(**fields)
    request = export_pb2.CreateExportRequest(export=export)
    made = await exports.CreateExport(request, metadata=person.metadata)

    async def ended() -> bool:
        found = await exports.GetExport(
            export_pb2.GetExportRequest(name=made.name), metadata=person.metadata
        )
        return bool(found.state == export_pb2.Export.SUCCEEDED)

    await eventually(ended)
    parts = exports.DownloadExport(
        export_pb2.DownloadExportRequest(name=made.name), metadata=person.metadata
    )
    return b"".join([part.data async for part in parts]).decode("utf-8-sig")
