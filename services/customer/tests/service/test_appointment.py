"""Appointments over gRPC: what a client may rely on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.customer.v1 import (
    appointment_pb2,
    appointment_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Appointment = appointment_pb2.Appointment
Attendee, Reply = Appointment.Attendee, Appointment.Attendee.Reply
HOUR = timedelta(hours=1)
OWN = ("customer.appointments.*", "OWN")


def stub(customer: ServiceUnderTest) -> appointment_pb2_grpc.AppointmentServiceStub:
    return appointment_pb2_grpc.AppointmentServiceStub(customer.channel)


def now() -> datetime:
    return datetime.now(UTC).replace(microsecond=0)


async def plan(
    customer: ServiceUnderTest,
    person: Person,
    start: datetime,
    length: timedelta = HOUR,
    **fields: Any,
) -> Appointment:
    values = {"title": "Visit", "start_time": start, "end_time": start + length, **fields}
    request = appointment_pb2.CreateAppointmentRequest(appointment=Appointment(**values))
    return await stub(customer).CreateAppointment(request, metadata=person.metadata)


async def get(customer: ServiceUnderTest, person: Person, name: str) -> Appointment:
    request = appointment_pb2.GetAppointmentRequest(name=name)
    return await stub(customer).GetAppointment(request, metadata=person.metadata)


async def act(
    customer: ServiceUnderTest, person: Person, verb: str, name: str, **fields: Any
) -> Appointment:
    noun = "ToAppointment" if verb == "Reply" else "Appointment"
    request = getattr(appointment_pb2, f"{verb}{noun}Request")(name=name, **fields)
    return await getattr(stub(customer), f"{verb}{noun}")(request, metadata=person.metadata)


async def named(customer: ServiceUnderTest, person: Person, filter: str) -> list[str]:  # noqa: A002
    request = appointment_pb2.ListAppointmentsRequest(filter=filter, order_by="start_time")
    answer = await stub(customer).ListAppointments(request, metadata=person.metadata)
    return [found.name for found in answer.appointments]


async def busy(
    customer: ServiceUnderTest, person: Person, start: datetime, length: timedelta, *users: Person
) -> list[tuple[str, datetime, datetime]]:
    request = appointment_pb2.QueryFreeBusyRequest(
        users=[user.name for user in users], start_time=start, end_time=start + length
    )
    answer = await stub(customer).QueryFreeBusy(request, metadata=person.metadata)
    return [
        (t.user, t.start_time.ToDatetime(UTC), t.end_time.ToDatetime(UTC))
        for t in answer.busy_times
    ]


async def contact(customer: ServiceUnderTest, person: Person) -> str:
    request = contact_pb2.CreateContactRequest(contact=contact_pb2.Contact(display_name="Jo"))
    stub = contact_pb2_grpc.ContactServiceStub(customer.channel)
    return (await stub.CreateContact(request, metadata=person.metadata)).name


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]


async def test_a_held_appointment_becomes_one_interaction(customer: ServiceUnderTest) -> None:
    """INVARIANT: in the same transaction, once however many say so, with the same people and records."""
    ada = await customer.person("*")
    jo = await contact(customer, ada)
    opportunity = f"opportunities/{await customer.know('opportunities')}"
    start = now() - HOUR
    made = await plan(
        customer, ada, start, kind=Appointment.CALL, title="SECRET-t", place="SECRET-p",
        attendees=[Attendee(contact=jo), Attendee(address="SECRET@b.c")], related=[opportunity],
    )  # fmt: skip
    assert list(made.participants) == [ada.name, jo]
    attempts = [act(customer, ada, "Hold", made.name, body="Agreed") for _ in range(4)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    (held,) = [o for o in outcomes if isinstance(o, Appointment)]
    interactions = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    listed = await interactions.ListInteractions(
        interaction_pb2.ListInteractionsRequest(filter=f'related:"{opportunity}"'),
        metadata=ada.metadata,
    )
    (told,) = listed.interactions
    assert (held.state, held.interaction, held.closer) == (Appointment.HELD, told.name, ada.name)
    assert (told.kind, told.subject, told.body) == (
        interaction_pb2.Interaction.CALL, "SECRET-t", "Agreed",
    )  # fmt: skip
    assert (list(told.participants), list(told.participant_addresses)) == (
        [ada.name, jo], ["SECRET@b.c"],
    )  # fmt: skip
    assert (told.duration_minutes, told.occur_time.ToDatetime(UTC)) == (60, start)
    events = await customer.events(made.name, count=2)
    assert [(e.routing_key, e.effective_time) for e in events][1] == (
        "customer.appointment.held", start,
    )  # fmt: skip
    assert not any(b"SECRET" in e.wire.payload for e in events)
    assert (await customer.events(told.name, count=2))[1].effective_time == start


async def test_what_is_to_come_is_not_held(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    made = await plan(customer, ada, now() + HOUR)
    for verb in ("Hold", "Miss"):
        code, reason, _ = await refusal(act(customer, ada, verb, made.name))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "APPOINTMENT_NOT_BEGUN")
    assert (await act(customer, ada, "Cancel", made.name)).state == Appointment.CANCELLED
    assert (await act(customer, ada, "Reopen", made.name)).state == Appointment.PLANNED


async def test_whoever_is_invited_sees_it_and_answers(customer: ServiceUnderTest) -> None:
    """INVARIANT: nobody else sees it, and being invited gives no right to change it."""
    ada, ben, eve = [await customer.person(OWN) for _ in range(3)]
    made = await plan(customer, ada, now() + HOUR, attendees=[Attendee(user=ben.name)])
    assert await named(customer, ben, f'participants:"{ben.name}"') == [made.name]
    assert await named(customer, eve, "") == []
    answered = await act(customer, ben, "Reply", made.name, reply=Reply.ACCEPTED)
    assert [a.reply for a in answered.attendees] == [Reply.ACCEPTED]
    passed_on = await act(
        customer, ada, "Reply", made.name, reply=Reply.DECLINED, attendee=ben.name
    )
    assert [a.reply for a in passed_on.attendees] == [Reply.DECLINED]
    cases = [
        (act(customer, eve, "Reply", made.name, reply=Reply.ACCEPTED), "RECORD_NOT_FOUND"),
        (get(customer, eve, made.name), "RECORD_NOT_FOUND"),
        (act(customer, ben, "Cancel", made.name), "RECORD_NOT_FOUND"),
        (act(customer, ben, "Reply", made.name, reply=Reply.ACCEPTED, attendee=ada.name), "NOT_YOURSELF"),
        (act(customer, ada, "Reply", made.name, reply=Reply.ACCEPTED), "NOT_INVITED"),
        (act(customer, ada, "Reply", made.name), "REQUIRED_FIELD"),
    ]  # fmt: skip
    for attempt, reason in cases:
        assert (await refusal(attempt))[1] == reason
    assert (await get(customer, ben, made.name)).state == Appointment.PLANNED
    batch = appointment_pb2.BatchGetAppointmentsRequest(names=[made.name])
    assert (await stub(customer).BatchGetAppointments(batch, metadata=ben.metadata)).appointments
    code, _, _ = await refusal(stub(customer).BatchGetAppointments(batch, metadata=eve.metadata))
    assert code == grpc.StatusCode.NOT_FOUND


async def test_the_page_after_the_first_is_limited_like_the_first(
    customer: ServiceUnderTest,
) -> None:
    ada, ben = [await customer.person(OWN) for _ in range(2)]
    names = [
        (await plan(customer, ada, now() + n * HOUR, attendees=[Attendee(user=ben.name)])).name
        for n in (1, 2, 3)
    ]
    await plan(customer, ada, now() + 4 * HOUR)
    found, token = [], ""
    while True:
        request = appointment_pb2.ListAppointmentsRequest(
            page_size=1, page_token=token, order_by="start_time"
        )
        page = await stub(customer).ListAppointments(request, metadata=ben.metadata)
        found += [a.name for a in page.appointments]
        token = page.next_page_token
        if not token:
            break
    assert found == names


async def test_when_somebody_is_busy_is_seen_and_nothing_else(customer: ServiceUnderTest) -> None:
    """INVARIANT: of whomever the appointments are; declined, cancelled and deleted ones do not count."""
    ada, ben, eve = [await customer.person(OWN) for _ in range(3)]
    base = now() + timedelta(days=100)
    both = await plan(customer, ada, base + HOUR, attendees=[Attendee(user=ben.name)])
    await plan(customer, ada, base + 2 * HOUR)
    cancelled = await plan(customer, ada, base + 5 * HOUR)
    await act(customer, ada, "Cancel", cancelled.name)
    deleted = await plan(customer, ada, base + 7 * HOUR)
    await act(customer, ada, "Delete", deleted.name)
    await plan(customer, ben, base - 7 * 24 * HOUR, recurrence="FREQ=WEEKLY", time_zone="UTC")
    day = timedelta(days=1)
    assert await busy(customer, eve, base, day, ada, ben) == [
        (ada.name, base + HOUR, base + 3 * HOUR), (ben.name, base, base + 2 * HOUR),
    ]  # fmt: skip
    await act(customer, ben, "Reply", both.name, reply=Reply.DECLINED)
    assert await busy(customer, eve, base, day, ben) == [(ben.name, base, base + HOUR)]
    assert (await refusal(busy(customer, eve, base, -HOUR, ada)))[2] == ["end_time"]


async def test_a_conflict_is_told_by_its_time(customer: ServiceUnderTest) -> None:
    """Of each user who is to come; not the appointment's own time."""
    ada, ben = [await customer.person(OWN) for _ in range(2)]
    base = now() + timedelta(days=200)
    made = await plan(customer, ada, base, 2 * HOUR, attendees=[Attendee(user=ben.name)])
    await plan(customer, ben, base + HOUR, 4 * HOUR)
    request = appointment_pb2.CheckConflictsRequest(name=made.name)
    answer = await stub(customer).CheckConflicts(request, metadata=ada.metadata)
    (time,) = answer.busy_times
    assert (time.user, time.start_time.ToDatetime(UTC)) == (ben.name, base + HOUR)
    assert time.end_time.ToDatetime(UTC) == base + 2 * HOUR


async def test_a_reminder_comes_before_it_begins_and_not_of_an_old_time(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: once, and never for a time that it was moved from."""
    ada = await customer.person("customer.*")
    start = datetime.now(UTC) + timedelta(minutes=10, milliseconds=400)
    made = await plan(customer, ada, start, reminder_minutes=[10])
    moved = await plan(customer, ada, start, reminder_minutes=[10])
    change = Appointment(name=moved.name, start_time=start + HOUR, end_time=start + 2 * HOUR)
    request = appointment_pb2.UpdateAppointmentRequest(appointment=change)
    await stub(customer).UpdateAppointment(request, metadata=ada.metadata)
    events = await customer.events(made.name, count=2)
    assert events[1].routing_key == "customer.appointment.reminded"
    assert list(events[1].message.appointment.participants) == [ada.name]
    assert (await get(customer, ada, moved.name)).etag == '"2"'


async def test_a_series_is_followed_by_the_next_once(customer: ServiceUnderTest) -> None:
    ada, ben = await customer.person("customer.*"), await customer.person(OWN)
    title = f"T {uuid4()}"
    made = await plan(
        customer, ada, now() - HOUR, recurrence="FREQ=DAILY", title=title, time_zone="UTC",
        attendees=[Attendee(user=ben.name, reply=Reply.ACCEPTED)],
    )  # fmt: skip
    missed = await act(customer, ada, "Miss", made.name)
    following = await get(customer, ada, missed.next_appointment)
    assert following.start_time.seconds == made.start_time.seconds + 86400
    assert [a.reply for a in following.attendees] == [Reply.AWAITED]
    await act(customer, ada, "Reopen", made.name)
    held = await act(customer, ada, "Hold", made.name)
    assert held.next_appointment == following.name
    assert await named(customer, ada, f'title = "{title}"') == [made.name, following.name]
