"""The consent ledger over gRPC: what a client, and the person it is about, may rely on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.common.v1.collaborator_pb2 import Collaborator, CreateCollaboratorRequest
from crm.common.v1.event_pb2 import ListEventsRequest
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import (
    collaborator_pb2_grpc,
    consent_pb2,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    event_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from customer.storage.consent import CONSENTS

Consent = consent_pb2.Consent
Contact = contact_pb2.Contact
GRANTED, WITHDRAWN = Consent.GRANTED, Consent.WITHDRAWN
MARCH = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
_CREATED, _CHANGED = "customer.consent.created", "customer.consent.changed"
_WAITING = compile_statement(
    sa.text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')")
)
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


async def share(
    customer: ServiceUnderTest, person: Person, record_: str, to: Person, access: int
) -> None:
    await collaborator_pb2_grpc.CollaboratorServiceStub(customer.channel).CreateCollaborator(
        CreateCollaboratorRequest(
            parent=record_, collaborator=Collaborator(user=to.name, access=access)
        ),
        metadata=person.metadata,
    )


async def keys(customer: ServiceUnderTest, name: str, count: int) -> list[str]:
    return [e.routing_key for e in await customer.events(name, count=count)]


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]


async def test_a_consent_is_recorded_with_its_proof_and_told_without_what_is_personal(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: place and evidence are in no event; contact, channel, purpose and decision are."""
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    made = await record(
        customer, ada, jo, method=Consent.DOUBLE_OPT_IN, place="SECRET-page", text_version="v7",
        source="spring fair", evidence="SECRET-address", effective_time=MARCH,
    )  # fmt: skip
    assert (made.place, made.evidence, made.basis) == (
        "SECRET-page", "SECRET-address", Consent.CONSENT,
    )  # fmt: skip
    created, changed = await customer.events(made.name, count=2)
    assert (created.routing_key, changed.routing_key) == (
        "customer.consent.created", "customer.consent.changed",
    )  # fmt: skip
    told = changed.message.consent
    assert (told.contact, told.channel, told.purpose, told.decision) == (
        jo, Consent.EMAIL, "newsletter", GRANTED,
    )  # fmt: skip
    assert (told.text_version, told.source, changed.effective_time) == ("v7", "spring fair", MARCH)
    assert b"SECRET" not in created.wire.payload + changed.wire.payload
    assert await state(customer, ada, jo) == {
        (Consent.EMAIL, "newsletter"): (GRANTED, True, made.name)
    }


async def test_only_what_changes_the_state_is_told_as_a_change(customer: ServiceUnderTest) -> None:
    """INVARIANT: `changed` is published once per change of what holds, never for a repetition or the past."""
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    first = await record(customer, ada, jo, effective_time=MARCH)
    again = await record(customer, ada, jo, effective_time=MARCH + timedelta(days=1))
    past = await record(customer, ada, jo, decision=WITHDRAWN, effective_time=MARCH - timedelta(1))
    taken_back = await record(customer, ada, jo, decision=WITHDRAWN)
    assert await keys(customer, first.name, 2) == [_CREATED, _CHANGED]
    assert await keys(customer, taken_back.name, 2) == [_CREATED, _CHANGED]
    assert await keys(customer, again.name, 1) == [_CREATED]
    assert await keys(customer, past.name, 1) == [_CREATED]
    last = (await customer.events(taken_back.name, count=2))[1]
    assert last.message.previous_decision == GRANTED


async def test_two_at_the_same_time_change_the_state_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: whoever adds to a ledger waits for, and then sees, what another is adding to it."""
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    call = new_call(customer.running.home, service_principal("customer"))
    values = {
        "contact": UUID(jo.partition("/")[2]), "channel": "EMAIL", "purpose": "newsletter",
        "decision": "GRANTED", "method": "PAPER",
    }  # fmt: skip
    first = await CONSENTS.insert(call, CONSENTS.new(call, values))
    second = asyncio.create_task(record(customer, ada, jo))

    async def waits_or_has_ended() -> bool:
        row = await customer.database.fetch_one(_WAITING, {})
        return second.done() or row is not None

    await eventually(waits_or_has_ended)
    await call.tx.commit()
    await call.tx.end()
    assert await keys(customer, f"consents/{first.id}", 2) == [_CREATED, _CHANGED]
    assert await keys(customer, (await second).name, 1) == [_CREATED]


async def test_a_repeated_request_is_one_entry(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    jo, request_id = await contact(customer, ada), str(uuid4())
    first = await record(customer, ada, jo, request_id=request_id)
    assert await record(customer, ada, jo, request_id=request_id) == first
    assert await listed(customer, ada, f'contact = "{jo}"') == [first.name]


# -- what holds


_MINUTES = st.integers(0, 4)
_ENTRIES = st.lists(
    st.tuples(
        st.sampled_from([Consent.EMAIL, Consent.PHONE]),
        st.sampled_from(["newsletter", "surveys"]),
        st.sampled_from([GRANTED, WITHDRAWN]),
        _MINUTES,
    ),
    max_size=7,
)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(entries=_ENTRIES)
async def test_every_instant_has_the_state_that_the_entries_until_then_make(
    customer: ServiceUnderTest, entries: list[tuple[int, str, int, int]]
) -> None:
    """INVARIANT: in whatever order entries come in, the one that took effect last decides; of several at one
    instant the one recorded last. The model replays them one by one.
    """
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    written = []
    for channel, purpose, decision, minute in entries:
        effective = MARCH + timedelta(minutes=minute)
        made = await record(
            customer, ada, jo, channel=channel, purpose=purpose, decision=decision,
            effective_time=effective,
        )  # fmt: skip
        written.append((effective, channel, purpose, decision, made.name))
    written.sort(key=lambda entry: entry[0])  # stable: as recorded
    for minute in range(-1, 6):
        at = MARCH + timedelta(minutes=minute)
        wanted = {}
        for effective, channel, purpose, decision, name in written:
            if effective <= at:
                wanted[channel, purpose] = (decision, decision == GRANTED, name)
        assert await state(customer, ada, jo, at) == wanted
    assert await state(customer, ada, jo) == wanted


async def test_the_state_can_be_asked_for_one_channel_or_purpose(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    for channel in (Consent.EMAIL, Consent.POST):
        for purpose in ("newsletter", "events"):
            await record(customer, ada, jo, channel=channel, purpose=purpose)
    assert set(await state(customer, ada, jo, channel=Consent.POST)) == {
        (Consent.POST, "newsletter"), (Consent.POST, "events"),
    }  # fmt: skip
    assert set(await state(customer, ada, jo, channel=Consent.POST, purpose="events")) == {
        (Consent.POST, "events")
    }
    assert await state(customer, ada, jo, channel=Consent.SMS) == {}


async def test_who_does_not_want_calls_is_not_called_whatever_the_ledger_says(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: `do_not_call` forbids calls, and only calls, from when it was set."""
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    await record(customer, ada, jo, channel=Consent.PHONE, effective_time=MARCH)
    await record(customer, ada, jo, channel=Consent.SMS, effective_time=MARCH)
    phone, sms = (Consent.PHONE, "newsletter"), (Consent.SMS, "newsletter")
    assert [(await state(customer, ada, jo))[key][1] for key in (phone, sms)] == [True, True]
    updated = await contacts(customer).UpdateContact(
        contact_pb2.UpdateContactRequest(
            contact=Contact(name=jo, do_not_call=True), update_mask=FieldMask(paths=["do_not_call"])
        ),
        metadata=ada.metadata,
    )
    set_at = updated.update_time.ToDatetime(UTC)
    after = await state(customer, ada, jo)
    assert after[phone][:2] == (GRANTED, False)
    assert after[sms][:2] == (GRANTED, True)
    assert (await state(customer, ada, jo, set_at))[phone][1] is False
    assert (await state(customer, ada, jo, set_at - timedelta(microseconds=1)))[phone][1] is True


# -- what is refused


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"channel": 0}, "consent.channel"),
        ({"channel": 99}, "consent.channel"),
        ({"decision": 0}, "consent.decision"),
        ({"purpose": ""}, "consent.purpose"),
        ({"purpose": "   "}, "consent.purpose"),
        ({"method": 0}, "consent.method"),
        ({"effective_time": datetime.now(UTC) + timedelta(days=1)}, "consent.effective_time"),
        ({"effective_time": Timestamp(seconds=10**15)}, "consent.effective_time"),
        ({"evidence": "x" * 2001}, "consent.evidence"),
    ],
)
async def test_what_is_wrong_is_named(
    customer: ServiceUnderTest, fields: dict[str, Any], field: str
) -> None:
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    code, _, named = await refusal(record(customer, ada, jo, **fields))
    assert (code, named) == (grpc.StatusCode.INVALID_ARGUMENT, [field])
    assert await listed(customer, ada, f'contact = "{jo}"') == []


async def test_a_withdrawal_needs_no_proof(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    made = await record(customer, ada, jo, decision=WITHDRAWN, method=0)
    assert made.method == Consent.METHOD_UNSPECIFIED


async def test_a_purpose_is_of_the_list_but_what_was_granted_can_always_be_withdrawn(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: retiring a purpose takes nobody the right to withdraw."""
    ada = await customer.person("customer.*")
    jo, jim = await contact(customer, ada), await contact(customer, ada)
    await record(customer, ada, jo, purpose="events")
    await customer.pick_list("consent_purpose", "newsletter", "surveys", "events", retired="events")
    try:
        taken_back = await record(customer, ada, jo, purpose="events", decision=WITHDRAWN)
        assert taken_back.purpose == "events"
        for purpose, reason in (("events", "RETIRED_ENTRY"), ("spam", "UNKNOWN_ENTRY")):
            assert await refusal(record(customer, ada, jim, purpose=purpose)) == (
                grpc.StatusCode.INVALID_ARGUMENT, reason, ["consent.purpose"],
            )  # fmt: skip
    finally:
        await customer.pick_list("consent_purpose", "newsletter", "surveys", "events")


# -- whose it is


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


# -- that it only grows


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
