"""The consent ledger over gRPC: whose it is, and that it only grows."""

from datetime import timedelta

import grpc

from crm.common.v1.collaborator_pb2 import Collaborator, CreateCollaboratorRequest
from crm.common.v1.event_pb2 import ListEventsRequest
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import (
    collaborator_pb2_grpc,
    consent_pb2,
    contact_pb2,
    event_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest

from .consents import (
    GRANTED,
    MARCH,
    WITHDRAWN,
    Contact,
    contact,
    contacts,
    keys,
    listed,
    record,
    refusal,
    state,
    stub,
)


async def share(
    customer: ServiceUnderTest, person: Person, record_: str, to: Person, access: int
) -> None:
    await collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel).CreateCollaborator(
        CreateCollaboratorRequest(
            parent=record_, collaborator=Collaborator(user=to.name, access=access)
        ),
        metadata=person.metadata,
    )


async def test_the_ledger_is_read_and_written_in_the_contacts_scope(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: who may not read a contact learns nothing of its ledger; who takes it over sees it all."""
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    jo = await contact(customer, ada)
    made = await record(customer, ada, jo)
    everything = consent_pb2.GetConsentRequest(name=made.name)
    not_found = grpc.StatusCode.NOT_FOUND

    async def sees(person: Person) -> bool:
        return await listed(customer, person, f'contact = "{jo}"') == [made.name]

    assert (await sees(ada), await sees(bob)) == (True, False)
    get = stub(customer).GetConsent(everything, metadata=bob.metadata)
    assert (await refusal(get))[0] == not_found
    assert (await refusal(state(customer, bob, jo)))[:2] == (not_found, "RECORD_NOT_FOUND")
    assert await refusal(record(customer, bob, jo)) == (
        not_found, "REFERENCE_NOT_FOUND", ["consent.contact"],
    )  # fmt: skip
    admin = await customer.person("customer.*")
    await contacts(customer).UpdateContact(
        contact_pb2.UpdateContactRequest(contact=Contact(name=jo, owner=bob.name)),
        metadata=admin.metadata,
    )
    assert (await sees(ada), await sees(bob)) == (False, True)
    assert (await stub(customer).GetConsent(everything, metadata=bob.metadata)).owner == ada.name
    await record(customer, bob, jo, decision=WITHDRAWN)


async def test_who_shares_a_contact_shares_its_ledger(customer: ServiceUnderTest) -> None:
    """INVARIANT: who reads a shared contact reads its ledger; only who may edit the one adds to the other."""
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    jo = await contact(customer, ada)
    made = await record(customer, ada, jo)

    await share(customer, ada, jo, bob, Collaborator.READ)
    assert await listed(customer, bob, f'contact = "{jo}"') == [made.name]
    assert list((await state(customer, bob, jo)).values()) == [(GRANTED, True, made.name)]
    get = consent_pb2.GetConsentRequest(name=made.name)
    assert (await stub(customer).GetConsent(get, metadata=bob.metadata)).name == made.name
    refused = await refusal(record(customer, bob, jo, decision=WITHDRAWN))
    assert refused[1:] == ("REFERENCE_NOT_FOUND", ["consent.contact"])
    eve = await customer.person(("customer.*", "OWN"))
    jim = await contact(customer, eve)
    await share(customer, eve, jim, bob, Collaborator.EDIT)
    assert (await record(customer, bob, jim)).owner == eve.name


async def test_events_of_a_ledger_are_read_by_whose_the_contact_is_now(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: who gave a contact away reads no more of its consents, by any door; who got it reads all."""
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    jo = await contact(customer, ada)
    made = await record(customer, ada, jo)
    await customer.events(made.name, count=2)  # they are there

    async def read(person: Person) -> int:
        answer = await event_pb2_grpc.EventServiceStub(customer.channel).ListEvents(
            ListEventsRequest(subject=made.name), metadata=person.metadata
        )
        return len(answer.events)

    assert (await read(ada), await read(bob)) == (2, 0)
    admin = await customer.person("customer.*")
    await contacts(customer).UpdateContact(
        contact_pb2.UpdateContactRequest(contact=Contact(name=jo, owner=bob.name)),
        metadata=admin.metadata,
    )
    assert (await read(ada), await read(bob)) == (0, 2)


async def test_consents_need_the_right_to_read_contacts_and_their_own(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    reader = await customer.person("customer.contacts.get", "customer.consents.get")
    stranger = await customer.person("customer.consents.*")
    denied = grpc.StatusCode.PERMISSION_DENIED
    assert await state(customer, reader, jo) == {}
    assert (await refusal(record(customer, reader, jo)))[0] == denied
    assert (await refusal(state(customer, stranger, jo)))[0] == denied
    assert (await refusal(listed(customer, stranger, "")))[0] == denied


async def test_an_entry_has_one_version_and_no_method_that_changes_it(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: the history of the ledger is the ledger."""
    ada = await customer.person("customer.*")
    made = await record(customer, ada, await contact(customer, ada))
    methods = {m.name for m in consent_pb2.DESCRIPTOR.services_by_name["ConsentService"].methods}
    assert methods == {
        "GetConsent", "ListConsents", "RecordConsent", "GetConsentState", "ListRevisions",
    }  # fmt: skip
    history = await stub(customer).ListRevisions(
        ListRevisionsRequest(parent=made.name), metadata=ada.metadata
    )
    assert [r.actor for r in history.revisions] == [ada.name]


async def test_the_ledger_ends_with_the_purge_of_its_contact(customer: ServiceUnderTest) -> None:
    """INVARIANT: nothing of a ledger outlives its contact, and nothing is added to that of a deleted one."""
    ada = await customer.person("customer.*")
    jo, jim = await contact(customer, ada), await contact(customer, ada)
    made, other = await record(customer, ada, jo), await record(customer, ada, jim)
    meta = {"metadata": ada.metadata}
    await contacts(customer).DeleteContact(contact_pb2.DeleteContactRequest(name=jo), **meta)
    assert await refusal(record(customer, ada, jo)) == (
        grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_DELETED", ["consent.contact"],
    )  # fmt: skip
    assert await listed(customer, ada, f'contact = "{jo}"') == [made.name]
    admin = await customer.person("customer.*", "customer.contacts.purge")
    await contacts(customer).PurgeContact(
        contact_pb2.PurgeContactRequest(name=jo), metadata=admin.metadata
    )
    assert await listed(customer, ada, f'contact = "{jo}"') == []
    assert (await keys(customer, made.name, 3))[2] == "customer.consent.purged"
    assert await listed(customer, ada, f'contact = "{jim}"') == [other.name]


async def test_a_ledger_is_listed_in_pages_by_time(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    made = [
        (await record(customer, ada, jo, effective_time=MARCH + timedelta(days=d))).name
        for d in (2, 0, 1)
    ]
    filter_ = f'contact = "{jo}" AND channel = EMAIL AND effective_time >= "2026-03-02"'
    assert await listed(customer, ada, filter_, order_by="effective_time") == [made[2], made[0]]
    request = consent_pb2.ListConsentsRequest(filter=f'contact = "{jo}"', page_size=2)
    page = await stub(customer).ListConsents(request, metadata=ada.metadata)
    request.page_token = page.next_page_token
    rest = await stub(customer).ListConsents(request, metadata=ada.metadata)
    assert [c.name for c in (*page.consents, *rest.consents)] == made[::-1]
