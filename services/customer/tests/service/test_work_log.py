"""The work log over gRPC: what somebody did, and who sees it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import grpc
import pytest
from google.type.date_pb2 import Date

from crm.customer.v1 import (
    appointment_pb2,
    appointment_pb2_grpc,
    interaction_pb2,
    interaction_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
    work_log_pb2,
    work_log_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Entry, Request = work_log_pb2.WorkLogEntry, work_log_pb2.QueryWorkLogRequest
HOUR = timedelta(hours=1)
OWN = ("customer.*", "OWN")


async def log(customer: ServiceUnderTest, person: Person, **fields: Any) -> Any:
    stub: Any = work_log_pb2_grpc.WorkLogServiceStub(customer.channel)
    return await stub.QueryWorkLog(Request(**fields), metadata=person.metadata)


async def interaction(
    customer: ServiceUnderTest, person: Person, time: datetime, subject: str
) -> str:
    stub = interaction_pb2_grpc.InteractionServiceStub(customer.channel)
    made = interaction_pb2.Interaction(subject=subject, occur_time=time, duration_minutes=7)
    request = interaction_pb2.CreateInteractionRequest(interaction=made)
    return (await stub.CreateInteraction(request, metadata=person.metadata)).name


async def done_task(customer: ServiceUnderTest, person: Person, title: str, **fields: Any) -> str:
    stub = task_pb2_grpc.TaskServiceStub(customer.channel)
    request = task_pb2.CreateTaskRequest(task=task_pb2.Task(title=title, **fields))
    task = await stub.CreateTask(request, metadata=person.metadata)
    done = task_pb2.CompleteTaskRequest(name=task.name)
    await stub.CompleteTask(done, metadata=person.metadata)
    return task.name


async def held(customer: ServiceUnderTest, person: Person, start: datetime, *others: Person) -> str:
    stub = appointment_pb2_grpc.AppointmentServiceStub(customer.channel)
    made = appointment_pb2.Appointment(
        title="Visit", start_time=start, end_time=start + HOUR,
        attendees=[{"user": other.name} for other in others],
    )  # fmt: skip
    request = appointment_pb2.CreateAppointmentRequest(appointment=made)
    appointment = await stub.CreateAppointment(request, metadata=person.metadata)
    hold = appointment_pb2.HoldAppointmentRequest(name=appointment.name)
    await stub.HoldAppointment(hold, metadata=person.metadata)
    return appointment.name


def a_day(moment: datetime) -> Date:
    return Date(year=moment.year, month=moment.month, day=moment.day)


async def test_what_somebody_did_in_a_day_stands_there_in_order(customer: ServiceUnderTest) -> None:
    """INVARIANT: each thing once: a held appointment is not listed again as its interaction."""
    ada, ben = await customer.person(OWN), await customer.person(OWN)
    day = datetime(2026, 3, 4, 8, tzinfo=UTC)
    visit = await held(customer, ada, day + HOUR, ben)
    call = await interaction(customer, ada, day + 2 * HOUR, "Call")
    await interaction(customer, ada, day + timedelta(days=1), "Tomorrow")
    answer = await log(customer, ada, date=a_day(day))
    assert [(e.kind, e.record, e.title, e.duration_minutes) for e in answer.entries] == [
        (Entry.APPOINTMENT_HELD, visit, "Visit", 60), (Entry.INTERACTION, call, "Call", 7),
    ]  # fmt: skip
    assert (answer.task_count, answer.interaction_count, answer.appointment_count) == (0, 1, 1)
    # Who was invited took part; whose appointment it was is somebody else.
    theirs = await log(customer, ben, date=a_day(day))
    assert [e.record for e in theirs.entries] == [visit]
    week = await log(customer, ada, date=a_day(day), period=Request.WEEK)
    assert week.interaction_count == 2


async def test_a_task_is_the_work_of_who_did_it(customer: ServiceUnderTest) -> None:
    """Not of whose it is; today, in the organisation's time zone."""
    team = await customer.team()
    ada, ben = [await customer.person(("customer.*", "TEAM"), team=team) for _ in range(2)]
    task = await done_task(customer, ada, "Send offer", owner=ben.name)
    answer = await log(customer, ada)
    assert [(e.kind, e.record, e.title) for e in answer.entries] == [
        (Entry.TASK_COMPLETED, task, "Send offer")
    ]
    assert (await log(customer, ben)).task_count == 0


async def test_a_day_is_one_of_the_organisation(customer: ServiceUnderTest) -> None:
    """In Shanghai it is Thursday when it is still Wednesday in London."""
    ada = await customer.person(OWN)
    await interaction(customer, ada, datetime(2026, 3, 4, 17, tzinfo=UTC), "Late")
    await customer.settings(time_zone="Asia/Shanghai")
    thursday = await log(customer, ada, date=Date(year=2026, month=3, day=5))
    await customer.settings()
    wednesday = await log(customer, ada, date=Date(year=2026, month=3, day=4))
    assert (thursday.interaction_count, wednesday.interaction_count) == (1, 1)
    assert thursday.start_time.ToDatetime(UTC) == datetime(2026, 3, 4, 16, tzinfo=UTC)


async def test_the_log_comes_in_pages_that_leave_nothing_out(customer: ServiceUnderTest) -> None:
    ada = await customer.person(OWN)
    day = datetime(2026, 3, 10, 8, tzinfo=UTC)
    names = [await interaction(customer, ada, day + n % 2 * HOUR, f"{n}") for n in range(5)]
    found, token = [], ""
    while True:
        page = await log(customer, ada, date=a_day(day), page_size=2, page_token=token)
        found += [e.record for e in page.entries]
        assert page.interaction_count == 5
        token = page.next_page_token
        if not token:
            break
    assert found == [*names[0::2], *names[1::2]]
    first = await log(customer, ada, date=a_day(day), page_size=2)
    next_day = a_day(day + timedelta(days=1))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await log(customer, ada, date=next_day, page_token=first.next_page_token)
    assert details_of(refused.value)["reason"] == "INVALID_PAGE_TOKEN"


async def test_a_log_is_seen_by_who_leads_its_user(customer: ServiceUnderTest) -> None:
    """INVARIANT: OWN is one's own; and a title is told to those only who may read the record."""
    above = await customer.team()
    below = await customer.team(above)
    boss = await customer.person(("customer.*", "SUBTREE"), team=above)
    counting = await customer.person(("customer.workLog.query", "ALL"))
    ada, eve = await customer.person(OWN, team=below), await customer.person(OWN, team=below)
    day = datetime(2026, 3, 20, 8, tzinfo=UTC)
    await interaction(customer, ada, day, "SECRET")
    seen = await log(customer, boss, user=ada.name, date=a_day(day))
    assert [e.title for e in seen.entries] == ["SECRET"]
    counted = await log(customer, counting, user=ada.name, date=a_day(day))
    assert ([e.title for e in counted.entries], counted.interaction_count) == ([""], 1)
    for person, user, status in (
        (eve, ada.name, grpc.StatusCode.PERMISSION_DENIED),
        (counting, f"users/{uuid7()}", grpc.StatusCode.NOT_FOUND),
        (counting, "users/1", grpc.StatusCode.INVALID_ARGUMENT),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await log(customer, person, user=user, date=a_day(day))
        assert refused.value.code() == status


@pytest.mark.parametrize(
    "date", [Date(year=2026), Date(year=2026, month=13, day=1), Date(year=1, month=1, day=1)]
)
async def test_a_day_that_is_none_is_refused(customer: ServiceUnderTest, date: Date) -> None:
    ada = await customer.person(OWN)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await log(customer, ada, date=date)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["date"]
