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

from crm.customer.v1 import (
    contact_pb2,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest
from customer.storage.consent import CONSENTS

from .consents import (
    GRANTED,
    MARCH,
    WITHDRAWN,
    Consent,
    Contact,
    contact,
    contacts,
    keys,
    listed,
    record,
    refusal,
    state,
)

_CREATED, _CHANGED = "customer.consent.created", "customer.consent.changed"
_WAITING = compile_statement(
    sa.text("SELECT 1 FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')")
)


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
