"""What the tests of searching share."""

from typing import Any

from crm.common.v1 import search_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    search_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest


async def search(
    customer: ServiceUnderTest, person: Person, query: str, **fields: Any
) -> search_pb2.SearchResponse:
    """A page of what is found."""
    stub: Any = search_pb2_grpc.SearchServiceStub(customer.channel)
    request = search_pb2.SearchRequest(query=query, **fields)
    answer: search_pb2.SearchResponse = await stub.Search(request, metadata=person.metadata)
    return answer


async def found(customer: ServiceUnderTest, person: Person, query: str, **fields: Any) -> list[str]:
    """The names of the records found, in order."""
    answer = await search(customer, person, query, **fields)
    return [result.record for result in answer.results]


async def account(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    """A new account's name."""
    stub: Any = account_pb2_grpc.AccountServiceStub(customer.channel)
    made = account_pb2.Account(**fields)
    request = account_pb2.CreateAccountRequest(account=made)
    return str((await stub.CreateAccount(request, metadata=person.metadata)).name)


async def contact(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    """A new contact's name."""
    stub: Any = contact_pb2_grpc.ContactServiceStub(customer.channel)
    made = contact_pb2.Contact(**fields)
    request = contact_pb2.CreateContactRequest(contact=made)
    return str((await stub.CreateContact(request, metadata=person.metadata)).name)
