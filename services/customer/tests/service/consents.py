"""Consents recorded and read, for the tests of the ledger."""

from datetime import UTC, datetime
from typing import Any

import grpc
import pytest

from crm.customer.v1 import (
    consent_pb2,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Consent = consent_pb2.Consent
Contact = contact_pb2.Contact
GRANTED, WITHDRAWN = Consent.GRANTED, Consent.WITHDRAWN
MARCH = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
State = dict[tuple[int, str], tuple[int, bool, str]]


def stub(customer: ServiceUnderTest) -> consent_pb2_grpc.ConsentServiceStub:
    return consent_pb2_grpc.ConsentServiceStub(customer.channel)


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def contact(customer: ServiceUnderTest, person: Person, **fields: Any) -> str:
    request = contact_pb2.CreateContactRequest(contact=Contact(display_name="Jo", **fields))
    return (await contacts(customer).CreateContact(request, metadata=person.metadata)).name


async def record(
    customer: ServiceUnderTest, person: Person, of: str, *, request_id: str = "", **fields: Any
) -> Consent:
    given_ = {
        "channel": Consent.EMAIL, "purpose": "newsletter", "decision": GRANTED,
        "method": Consent.WEB_FORM,
    }  # fmt: skip
    request = consent_pb2.RecordConsentRequest(
        consent=Consent(contact=of, **{**given_, **fields}), request_id=request_id
    )
    return await stub(customer).RecordConsent(request, metadata=person.metadata)


async def state(
    customer: ServiceUnderTest, person: Person, of: str, at: datetime | None = None, **fields: Any
) -> State:
    request = consent_pb2.GetConsentStateRequest(contact=of, **fields)
    if at is not None:
        request.effective_time.FromDatetime(at)
    answer = await stub(customer).GetConsentState(request, metadata=person.metadata)
    return {(s.channel, s.purpose): (s.decision, s.allowed, s.consent.name) for s in answer.states}


async def listed(
    customer: ServiceUnderTest,
    person: Person,
    filter_: str,
    **fields: Any,
) -> list[str]:
    request = consent_pb2.ListConsentsRequest(filter=filter_, **fields)
    answer = await stub(customer).ListConsents(request, metadata=person.metadata)
    return [found.name for found in answer.consents]


async def keys(customer: ServiceUnderTest, name: str, count: int) -> list[str]:
    return [e.routing_key for e in await customer.events(name, count=count)]


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]
