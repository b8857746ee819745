"""Erasures over gRPC, in the service that owns contacts."""

from datetime import timedelta
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa

from crm.customer.v1 import (
    consent_pb2,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    privacy_pb2,
    privacy_pb2_grpc,
)
from crmkit import clock
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from crmkit.trash import purge_expired
from customer.storage.contact import CONTACTS
from customer.storage.erasure import erasures


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def officer(customer: ServiceUnderTest) -> Person:
    return await customer.person("customer.*", "customer.contacts.purge", "customer.contacts.erase")


async def contact(customer: ServiceUnderTest, who: Person, mark: str) -> str:
    made = contact_pb2.Contact(display_name=mark, emails=[{"address": f"{mark}@mail.example"}])
    request = contact_pb2.CreateContactRequest(contact=made)
    return str((await contacts(customer).CreateContact(request, metadata=who.metadata)).name)


async def refusal_of_purge(customer: ServiceUnderTest, who: Person, name: str) -> str:
    request = contact_pb2.PurgeContactRequest(name=name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await contacts(customer).PurgeContact(request, metadata=who.metadata)
    assert caught.value.code() is grpc.StatusCode.FAILED_PRECONDITION
    return str(details_of(caught.value)["reason"])


async def running(customer: ServiceUnderTest, name: str, mark: str) -> UUID:
    """An erasure that waits for a service that is away."""
    id_ = uuid7()
    values = {
        "id": id_, "contact": UUID(name.partition("/")[2]), "names": [name],
        "texts": [f"{mark}@mail.example"], "reason": "r", "create_time": clock.now(),
        "state": "RUNNING", "parts": [],
    }  # fmt: skip
    await customer.database.execute(compile_statement(sa.insert(erasures).values(values)))
    return id_


async def erase(customer: ServiceUnderTest, who: Person, name: str) -> None:
    stub = privacy_pb2_grpc.PrivacyServiceStub(customer.channel)
    request = privacy_pb2.EraseContactRequest(name=name, reason="Request 1")
    erasure = (await stub.EraseContact(request, metadata=who.metadata)).name

    async def ended() -> bool:
        now = await stub.GetErasure(
            privacy_pb2.GetErasureRequest(name=erasure), metadata=who.metadata
        )
        return bool(now.state == privacy_pb2.Erasure.State.SUCCEEDED)

    await eventually(ended)


async def test_whom_an_erasure_has_to_find_is_not_purged(customer: ServiceUnderTest) -> None:
    """INVARIANT: neither by hand nor with age; the erasure would never end, and never be told."""
    ada = await officer(customer)
    jo = await contact(customer, ada, "zqone")
    await contacts(customer).DeleteContact(
        contact_pb2.DeleteContactRequest(name=jo), metadata=ada.metadata
    )
    await running(customer, jo, "zqone")
    assert await refusal_of_purge(customer, ada, jo) == "ERASURE_RUNNING"
    await purge_expired(customer.running.home, [CONTACTS], clock.now() + timedelta(days=1))
    request = contact_pb2.GetContactRequest(name=jo)
    assert (await contacts(customer).GetContact(request, metadata=ada.metadata)).name == jo


async def test_the_proof_of_consent_outlives_an_erasure(customer: ServiceUnderTest) -> None:
    """INVARIANT: the shell of somebody erased, with their ledger, cannot be purged."""
    ada = await officer(customer)
    jo = await contact(customer, ada, "zqtwo")
    ledger = consent_pb2_grpc.ConsentServiceStub(customer.channel)
    given = consent_pb2.Consent(
        contact=jo, channel="EMAIL", purpose="newsletter", decision="GRANTED", method="PAPER"
    )
    made = await ledger.RecordConsent(
        consent_pb2.RecordConsentRequest(consent=given), metadata=ada.metadata
    )
    await erase(customer, ada, jo)
    assert await refusal_of_purge(customer, ada, jo) == "CONTACT_ERASED"
    request = consent_pb2.GetConsentRequest(name=made.name)
    kept = await ledger.GetConsent(request, metadata=ada.metadata)
    assert (kept.contact, kept.purpose) == (jo, "newsletter")
