"""Tasks over gRPC: what a client may rely on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.struct_pb2 import Struct

from crm.common.v1 import custom_field_pb2
from crm.common.v1.comment_pb2 import Comment, CreateCommentRequest
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    comment_pb2_grpc,
    custom_field_pb2_grpc,
    task_pb2,
    task_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from customer.usecases.tell_task_time import tell_task_time

Task = task_pb2.Task
SOON = timedelta(milliseconds=300)


def stub(customer: ServiceUnderTest) -> task_pb2_grpc.TaskServiceStub:
    return task_pb2_grpc.TaskServiceStub(customer.channel)


async def create(customer: ServiceUnderTest, person: Person, **fields: Any) -> Task:
    request = task_pb2.CreateTaskRequest(task=Task(**{"title": f"T {uuid4()}", **fields}))
    return await stub(customer).CreateTask(request, metadata=person.metadata)


async def get(customer: ServiceUnderTest, person: Person, name: str) -> Task:
    request = task_pb2.GetTaskRequest(name=name)
    return await stub(customer).GetTask(request, metadata=person.metadata)


async def update(
    customer: ServiceUnderTest, person: Person, name: str, *paths: str, **fields: Any
) -> Task:
    request = task_pb2.UpdateTaskRequest(
        task=Task(name=name, **fields), update_mask=FieldMask(paths=paths)
    )
    return await stub(customer).UpdateTask(request, metadata=person.metadata)


async def act(
    customer: ServiceUnderTest, person: Person, verb: str, name: str, **fields: Any
) -> Task:
    request = getattr(task_pb2, f"{verb}TaskRequest")(name=name, **fields)
    return await getattr(stub(customer), f"{verb}Task")(request, metadata=person.metadata)


async def named(customer: ServiceUnderTest, person: Person, filter: str) -> list[str]:  # noqa: A002
    request = task_pb2.ListTasksRequest(filter=filter, order_by="due_time")
    answer = await stub(customer).ListTasks(request, metadata=person.metadata)
    return [found.name for found in answer.tasks]


async def account(customer: ServiceUnderTest, person: Person) -> str:
    request = account_pb2.CreateAccountRequest(account=account_pb2.Account(display_name="Acme"))
    stub = account_pb2_grpc.AccountServiceStub(customer.channel)
    return (await stub.CreateAccount(request, metadata=person.metadata)).name


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]


def seconds(moment: datetime) -> int:
    return int(moment.timestamp())


async def test_a_task_is_assigned_started_done_and_reopened(customer: ServiceUnderTest) -> None:
    """Each step is a version with its event, and who did it when is on the record."""
    ada = await customer.person("customer.*")
    task = await create(customer, ada, title="Call Acme", description="About the offer")
    assert (task.state, task.priority, task.owner) == (Task.OPEN, Task.Priority.NORMAL, ada.name)
    assert (await act(customer, ada, "Start", task.name)).state == Task.IN_PROGRESS
    done = await act(customer, ada, "Complete", task.name)
    assert (done.state, done.closer, done.HasField("close_time")) == (Task.DONE, ada.name, True)
    opened = await act(customer, ada, "Reopen", task.name)
    assert (opened.state, opened.HasField("close_time"), opened.closer) == (Task.OPEN, False, "")
    assert (await act(customer, ada, "Cancel", task.name)).state == Task.CANCELLED
    events = await customer.events(task.name, count=5)
    assert [e.routing_key.rpartition(".")[2] for e in events] == [
        "created", "started", "completed", "reopened", "cancelled",
    ]  # fmt: skip
    assert events[2].effective_time.timestamp() == pytest.approx(
        done.close_time.ToDatetime(UTC).timestamp(), abs=0.001
    )
    assert not any(b"Call Acme" in e.wire.payload or b"offer" in e.wire.payload for e in events)


async def test_a_step_that_is_not_allowed_says_what_is(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    task = await create(customer, ada)
    await act(customer, ada, "Complete", task.name)
    for verb in ("Start", "Complete", "Cancel"):
        code, reason, _ = await refusal(act(customer, ada, verb, task.name))
        assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "ILLEGAL_TRANSITION")
    code, reason, _ = await refusal(act(customer, ada, "Reopen", task.name, etag='"1"'))
    assert (code, reason) == (grpc.StatusCode.ABORTED, "ETAG_MISMATCH")


# -- what it is about


async def test_a_task_is_about_records_of_every_service(customer: ServiceUnderTest) -> None:
    """By name, within what its author sees; and it is found by each of them."""
    ada = await customer.person("*")
    acme = await account(customer, ada)
    opportunity = f"opportunities/{await customer.know('opportunities')}"
    ticket = f"tickets/{await customer.know('tickets')}"
    about = [acme, opportunity, ticket]
    task = await create(customer, ada, related=[*about, acme])
    assert list(task.related) == about  # each once
    for name in about:
        assert await named(customer, ada, f'related:"{name}"') == [task.name]
    assert await named(customer, ada, f'related:"{acme}" AND state = DONE') == []
    assert task.name in await named(customer, ada, "related:*")


async def test_what_a_task_cannot_be_about_is_refused(customer: ServiceUnderTest) -> None:
    """INVARIANT: no reference to what is not there, not seen, or of another kind; the field is named."""
    ada = await customer.person("*")
    seller = await customer.person(("customer.*", "OWN"), ("sales.opportunities.get", "OWN"))
    theirs = f"opportunities/{await customer.know('opportunities', owner=ada.id)}"
    deleted = f"tickets/{await customer.know('tickets', deleted=True)}"
    cases = [
        (ada, f"accounts/{uuid4()}", grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND"),
        (seller, theirs, grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND"),
        (ada, deleted, grpc.StatusCode.FAILED_PRECONDITION, "REFERENCE_DELETED"),
        (ada, f"users/{ada.id}", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (ada, "accounts/1", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
        (ada, "", grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD"),
    ]
    for person, name, code, reason in cases:
        assert await refusal(create(customer, person, related=[name])) == (
            code, reason, ["task.related"],
        ), name  # fmt: skip


@pytest.mark.parametrize(
    "text", ['related:"users/x"', 'related:"accounts/x"', 'related = "x"', "related:x"]
)
async def test_a_filter_that_names_no_record_is_refused(
    customer: ServiceUnderTest, text: str
) -> None:
    ada = await customer.person("customer.*")
    code, reason, _ = await refusal(named(customer, ada, text))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FILTER")


# -- rights


async def test_a_person_sees_their_own_tasks(customer: ServiceUnderTest) -> None:
    """INVARIANT: another's task is as if it were not there."""
    ada = await customer.person(("customer.tasks.*", "OWN"))
    bob = await customer.person(("customer.tasks.*", "OWN"))
    task = await create(customer, ada)
    assert await named(customer, bob, f'name = "{task.name}"') == []
    for attempt in (get(customer, bob, task.name), act(customer, bob, "Complete", task.name)):
        assert (await refusal(attempt))[0] == grpc.StatusCode.NOT_FOUND
    assert (await get(customer, ada, task.name)).state == Task.OPEN


async def test_each_step_has_a_right_of_its_own(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.tasks.get", "customer.tasks.create")
    task = await create(customer, ada)
    for verb in ("Start", "Complete", "Cancel", "Reopen"):
        code, reason, _ = await refusal(act(customer, ada, verb, task.name))
        assert (code, reason) == (grpc.StatusCode.PERMISSION_DENIED, "PERMISSION_DENIED")


# -- times


async def test_the_time_of_a_task_comes_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: an event at the time to remind and one at the due time; none twice, none of an old time."""
    ada = await customer.person("customer.*")
    now = datetime.now(UTC)
    task = await create(
        customer, ada, remind_time=now + SOON, due_time=now + timedelta(milliseconds=600)
    )
    moved = await create(customer, ada, due_time=now + SOON)
    await update(customer, ada, moved.name, "due_time", due_time=now + timedelta(milliseconds=900))
    events = await customer.events(task.name, count=3)
    assert [e.routing_key for e in events[1:]] == ["customer.task.reminded", "customer.task.due"]
    assert events[2].effective_time == now + timedelta(milliseconds=600)
    assert events[2].owner == ada.id
    assert [e.routing_key for e in await customer.events(moved.name, count=3)] == [
        "customer.task.created", "customer.task.updated", "customer.task.due",
    ]  # fmt: skip


@pytest.mark.parametrize("verb", ["Complete", "Cancel", "Delete"])
async def test_nothing_is_told_of_a_task_that_is_over(
    customer: ServiceUnderTest, verb: str
) -> None:
    """The job finds it done, cancelled or deleted, and says nothing."""
    ada = await customer.person("customer.*")
    due = datetime.now(UTC) + timedelta(hours=1)
    task = await create(customer, ada, due_time=due)
    await act(customer, ada, verb, task.name)
    await _let_time_come(customer, task, due)
    assert (await get(customer, ada, task.name)).etag == '"2"'


async def test_a_task_that_is_opened_again_falls_due_again(customer: ServiceUnderTest) -> None:
    """Its time is promised anew with every way back."""
    ada = await customer.person("customer.*")
    task = await create(customer, ada, due_time=datetime.now(UTC) + SOON)
    await act(customer, ada, "Complete", task.name)
    await act(customer, ada, "Reopen", task.name)
    events = await customer.events(task.name, count=4)
    assert events[3].routing_key == "customer.task.due"


async def test_a_reminder_is_snoozed(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    task = await create(customer, ada)
    now = datetime.now(UTC)
    assert await refusal(
        act(customer, ada, "Snooze", task.name, remind_time=now - timedelta(hours=1))
    ) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["remind_time"])
    await act(customer, ada, "Snooze", task.name, remind_time=now + SOON)
    events = await customer.events(task.name, count=3)
    assert [e.routing_key.rpartition(".")[2] for e in events] == ["created", "snoozed", "reminded"]
    await act(customer, ada, "Complete", task.name)
    attempt = act(customer, ada, "Snooze", task.name, remind_time=now + timedelta(days=1))
    assert (await refusal(attempt))[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "TASK_CLOSED")


async def _let_time_come(customer: ServiceUnderTest, task: Task, due: datetime) -> None:
    call = new_call(customer.running.home, service_principal("customer"))
    arguments = {"task": task.uid, "kind": "due", "time": due.isoformat()}
    await tell_task_time(call, arguments)
    await call.tx.commit()
    await call.tx.end()


# -- series


async def test_completing_a_recurring_task_makes_the_next_exactly_once(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: one task follows, whatever is repeated, raced for, or reopened and done again."""
    ada = await customer.person("customer.*")
    acme, title = await account(customer, ada), f"T {uuid4()}"
    due = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    task = await create(
        customer, ada, title=title, due_time=due, recurrence="FREQ=WEEKLY", related=[acme],
        time_zone="Europe/Berlin",
    )  # fmt: skip
    attempts = [act(customer, ada, "Complete", task.name) for _ in range(5)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    (done,) = [o for o in outcomes if isinstance(o, Task)]
    await act(customer, ada, "Reopen", task.name)
    again = await act(customer, ada, "Complete", task.name)
    assert again.next_task == done.next_task
    assert sorted(await named(customer, ada, f'title = "{title}"')) == [task.name, done.next_task]
    following = await get(customer, ada, done.next_task)
    assert (following.state, following.recurrence) == (Task.OPEN, "FREQ=WEEKLY")
    assert list(following.related) == [acme]
    assert following.series_start_time.seconds == seconds(due)
    assert (
        timedelta(days=7) - timedelta(hours=1)
        <= following.due_time.ToDatetime(UTC) - due
        <= timedelta(days=7, hours=1)
    )


async def test_a_repeat_of_a_completion_answers_the_first(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    due = datetime.now(UTC) + timedelta(days=1)
    task = await create(customer, ada, due_time=due, recurrence="FREQ=DAILY")
    request_id = str(uuid4())
    answers = [
        await act(customer, ada, "Complete", task.name, request_id=request_id) for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert answers[0].next_task


async def test_a_series_goes_on_whatever_became_of_what_it_is_about(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: completing is never refused for a deleted account, a unique or a missing custom field."""
    ada = await customer.person("*")
    fields = custom_field_pb2_grpc_stub(customer)
    unique, later = f"u{uuid4().hex[:8]}", f"r{uuid4().hex[:8]}"
    await define(fields, ada, unique, unique=True)
    acme = await account(customer, ada)
    values = Struct()
    values.update({unique: "1"})
    due = datetime.now(UTC) + timedelta(days=1)
    task = await create(
        customer, ada, due_time=due, recurrence="FREQ=DAILY", related=[acme], custom_fields=values
    )
    delete = account_pb2.DeleteAccountRequest(name=acme)
    await account_pb2_grpc.AccountServiceStub(customer.channel).DeleteAccount(
        delete, metadata=ada.metadata
    )
    required = await define(fields, ada, later, required=True)
    done = await act(customer, ada, "Complete", task.name)
    following = await get(customer, ada, done.next_task)
    assert list(following.related) == [acme]
    assert unique not in following.custom_fields.fields
    await fields.DeleteCustomField(
        custom_field_pb2.DeleteCustomFieldRequest(name=required.name), metadata=ada.metadata
    )


def custom_field_pb2_grpc_stub(customer: ServiceUnderTest) -> Any:
    return custom_field_pb2_grpc.CustomFieldServiceStub(customer.channel)


async def define(fields: Any, person: Person, field_id: str, **values: Any) -> Any:
    definition = custom_field_pb2.CustomField(
        resource="tasks", field_id=field_id, display_name=field_id,
        type=custom_field_pb2.CustomField.TEXT, **values,
    )  # fmt: skip
    request = custom_field_pb2.CreateCustomFieldRequest(custom_field=definition)
    return await fields.CreateCustomField(request, metadata=person.metadata)


async def test_a_rule_that_is_none_is_refused(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    due = datetime.now(UTC) + timedelta(days=1)
    assert await refusal(create(customer, ada, due_time=due, recurrence="FREQ=NEVER")) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RECURRENCE", ["task.recurrence"],
    )  # fmt: skip
    assert await refusal(create(customer, ada, recurrence="FREQ=DAILY")) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_RECURRENCE", ["task.due_time"],
    )  # fmt: skip
    assert await refusal(create(customer, ada, time_zone="Mars/Olympus")) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FIELD", ["task.time_zone"],
    )  # fmt: skip


async def test_a_series_runs_in_the_organisations_time_zone_if_it_names_none(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person("customer.*")
    await customer.settings(time_zone="Asia/Shanghai")
    due = datetime.now(UTC) + timedelta(days=1)
    task = await create(customer, ada, due_time=due, recurrence="FREQ=DAILY")
    assert task.time_zone == "Asia/Shanghai"
    await customer.settings()


# -- what every record has


async def test_a_task_has_history_and_comments(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    task = await create(customer, ada, title="Before")
    await update(customer, ada, task.name, "title", title="After")
    answer = await stub(customer).ListRevisions(
        ListRevisionsRequest(parent=task.name), metadata=ada.metadata
    )
    (change,) = answer.revisions[0].changes
    assert (change.field, change.old_value.string_value, change.new_value.string_value) == (
        "title", "Before", "After",
    )  # fmt: skip
    comments = comment_pb2_grpc.CommentServiceStub(customer.channel)
    made = await comments.CreateComment(
        CreateCommentRequest(parent=task.name, comment=Comment(text="Soon")), metadata=ada.metadata
    )
    assert made.name.startswith(f"{task.name}/comments/")
