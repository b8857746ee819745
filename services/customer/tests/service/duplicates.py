"""What tests of duplicates have in common: contacts, their sets, scans."""

from typing import Any

import grpc
import pytest
import sqlalchemy as sa
from google.type.date_pb2 import Date

from crm.customer.v1 import (
    contact_pb2,
    contact_pb2_grpc,
    duplicate_pb2,
    duplicate_pb2_grpc,
    duplicate_scan_pb2,
    duplicate_scan_pb2_grpc,
)
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Contact = contact_pb2.Contact
Set = duplicate_pb2.DuplicateSet
_LEFT = compile_statement(
    sa.text(
        "SELECT EXISTS (SELECT FROM outbox) OR last_seq > feed_seq FROM relay_state, duplicate_watch"
    )
)
BORN = Date(year=1980, month=5, day=17)


def stub(customer: ServiceUnderTest) -> duplicate_pb2_grpc.DuplicateSetServiceStub:
    return duplicate_pb2_grpc.DuplicateSetServiceStub(customer.channel)


def scans(customer: ServiceUnderTest) -> duplicate_scan_pb2_grpc.DuplicateScanServiceStub:
    return duplicate_scan_pb2_grpc.DuplicateScanServiceStub(customer.channel)


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def contact(
    customer: ServiceUnderTest, by: Person, given: str, family: str, **more: Any
) -> str:
    values = {"given_name": given, "family_name": family, **more}
    request = contact_pb2.CreateContactRequest(contact=Contact(**values))
    return (await contacts(customer).CreateContact(request, metadata=by.metadata)).name


async def sets_of(
    customer: ServiceUnderTest, by: Person, name: str, *, all_: bool = False
) -> list[Set]:
    state = "" if all_ else " AND state = OPEN"
    request = duplicate_pb2.ListDuplicateSetsRequest(filter=f'members:"{name}"{state}')
    answer = await stub(customer).ListDuplicateSets(request, metadata=by.metadata)
    return list(answer.duplicate_sets)


async def found(customer: ServiceUnderTest, by: Person, name: str, size: int = 2) -> Set:
    """The open set of a record once it has so many members."""

    async def look() -> Set | None:
        sets = await sets_of(customer, by, name)
        return sets[0] if sets and len(sets[0].members) == size else None

    one = await eventually(look)
    assert one is not None
    return one


async def looked_at(customer: ServiceUnderTest) -> None:
    """Returns once everything that was changed so far has been looked at."""

    async def reached() -> bool:
        row = await customer.database.fetch_one(_LEFT)
        return row is not None and not row[0]

    await eventually(reached)


async def refused(call: Any) -> tuple[grpc.StatusCode, str]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return caught.value.code(), details_of(caught.value)["reason"]


async def scan(customer: ServiceUnderTest, by: Person, resource: str = "contacts") -> Any:
    """A scan that has ended."""
    wanted = duplicate_scan_pb2.DuplicateScan(resource=resource)
    create = duplicate_scan_pb2.CreateDuplicateScanRequest(duplicate_scan=wanted)
    name = (await scans(customer).CreateDuplicateScan(create, metadata=by.metadata)).name
    get = duplicate_scan_pb2.GetDuplicateScanRequest(name=name)

    async def ended() -> Any:
        stands = await scans(customer).GetDuplicateScan(get, metadata=by.metadata)
        return stands if stands.HasField("end_time") else None

    return await eventually(ended)
