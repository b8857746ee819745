"""Notifications: who is told what, and that nobody reads another's."""

import asyncio
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import event_pb2
from crm.common.v1.document_pb2 import Document
from crm.common.v1.job_pb2 import JobOutcome
from crm.customer.v1.account_pb2 import (
    Account,
    AccountPooled,
    AccountReclaimAnnounced,
    AccountTransferred,
)
from crm.customer.v1.appointment_pb2 import Appointment, AppointmentReminded
from crm.customer.v1.import_pb2 import ImportEnded
from crm.customer.v1.task_pb2 import Task, TaskDue, TaskReminded
from crm.sales.v1.document_pb2 import DocumentExpired
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityCreated, OpportunityUpdated
from crm.support.v1.export_pb2 import ExportEnded
from crm.workspace.v1 import event_pb2_grpc, notification_pb2, notification_pb2_grpc
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from workspace.usecases.housekeeping import tidy

Notification = notification_pb2.Notification


def stub(workspace: ServiceUnderTest) -> Any:
    return notification_pb2_grpc.NotificationServiceStub(workspace.channel)


async def listed(workspace: ServiceUnderTest, person: Person, **request: Any) -> list[Any]:
    answer = await stub(workspace).ListNotifications(
        notification_pb2.ListNotificationsRequest(**request), metadata=person.metadata
    )
    return list(answer.notifications)


async def unread(workspace: ServiceUnderTest, person: Person) -> int:
    request = notification_pb2.CountUnreadNotificationsRequest()
    answer = await stub(workspace).CountUnreadNotifications(request, metadata=person.metadata)
    return int(answer.unread_count)


async def applied(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    last = (await feeds.feed.head()).last_seq
    consumed = workspace.running.home.consumed
    await eventually(lambda: all(s.applied_seq >= last for s in consumed.values()))


async def assign(feeds: FeedHost, person: Person, **attributes: Any) -> str:
    """Somebody else makes a record the person's."""
    record = Opportunity(name=f"opportunities/{uuid7()}")
    values = {"owner": person.id, "actor": f"users/{uuid7()}", **attributes}
    await feeds.publish(OpportunityUpdated(opportunity=record, changed_fields=["owner"]), **values)
    return record.name


async def test_a_person_is_told_of_what_becomes_theirs(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """By its name and by who did it; without a word of the record itself."""
    ada = await workspace.person()
    actor = f"users/{uuid7()}"
    record = await assign(feeds, ada, actor=actor)
    await applied(workspace, feeds)
    (told,) = await listed(workspace, ada)
    assert (told.kind, told.subject, told.actor) == (Notification.ASSIGNED, record, actor)
    assert (told.text_key, told.owner, told.HasField("read_time")) == (
        "notification.assigned", ada.name, False,
    )  # fmt: skip


async def test_a_person_is_told_of_an_account_that_is_given_to_them(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """A transfer is an event of its own, not an update."""
    ada = await workspace.person()
    account = Account(name=f"accounts/{uuid7()}")
    given = AccountTransferred(account=account, changed_fields=["owner"])
    await feeds.publish(given, owner=ada.id, actor=f"users/{uuid7()}")
    await applied(workspace, feeds)
    assert [told.subject for told in await listed(workspace, ada)] == [account.name]


async def test_what_is_no_news_is_not_told(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    """Their own doing, other changes, imports, bulk actions, and people who are not here."""
    ada = await workspace.person()
    await assign(feeds, ada, actor=ada.name)
    await assign(feeds, ada, imported=True)
    await assign(feeds, ada, actor=f"users/{uuid7()}", causation_id=f"bulkActions/{uuid7()}")
    record = Opportunity(name=f"opportunities/{uuid7()}")
    other = OpportunityUpdated(opportunity=record, changed_fields=["amount"])
    await feeds.publish(other, owner=ada.id, actor=f"users/{uuid7()}")
    await feeds.publish(OpportunityCreated(opportunity=record), owner=uuid7())
    await applied(workspace, feeds)
    assert await listed(workspace, ada) == []


async def test_who_started_a_job_is_told_how_it_ended(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """An import or export, of any service; nobody is told of what a service started."""
    ada = await workspace.person()
    outcome = JobOutcome(
        name=f"imports/{uuid7()}", resource="accounts", state=JobOutcome.SUCCEEDED,
        creator=ada.name, processed_count=1000, failed_count=7,
    )  # fmt: skip
    await feeds.publish(ImportEnded(outcome=outcome), subject=outcome.name)
    outcome.ClearField("creator")
    await feeds.publish(ImportEnded(outcome=outcome), subject=outcome.name)
    failed = JobOutcome(name=f"exports/{uuid7()}", state=JobOutcome.FAILED, creator=ada.name)
    await feeds.publish(ExportEnded(outcome=failed), subject=failed.name)
    await applied(workspace, feeds)
    second, first = await listed(workspace, ada, filter="kind = JOB_ENDED")
    assert (first.subject, dict(first.parameters)) == (
        outcome.name,
        {
            "job": "import", "service": "customer", "resource": "accounts", "state": "SUCCEEDED",
            "processed_count": "1000", "failed_count": "7",
        },
    )  # fmt: skip
    assert (second.parameters["job"], second.parameters["service"]) == ("export", "support")
    assert second.parameters["state"] == "FAILED"


async def test_a_person_is_told_when_the_time_of_a_task_comes(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Whomever it is assigned to, by its name alone; each kind can be turned off."""
    ada = await workspace.person()
    task = Task(name=f"tasks/{uuid7()}")
    for message in (TaskReminded(task=task), TaskDue(task=task)):
        await feeds.publish(message, owner=ada.id, subject=task.name)
    await applied(workspace, feeds)
    told = [(n.kind, n.subject) for n in await listed(workspace, ada)]
    assert told == [(Notification.TASK_DUE, task.name), (Notification.TASK_REMINDER, task.name)]
    preferences = notification_pb2.NotificationPreferences(
        preferences=[{"kind": "TASK_REMINDER", "in_app": False}]
    )
    request = notification_pb2.UpdateNotificationPreferencesRequest(preferences=preferences)
    await stub(workspace).UpdateNotificationPreferences(request, metadata=ada.metadata)
    await feeds.publish(TaskReminded(task=task), owner=ada.id, subject=task.name)
    await applied(workspace, feeds)
    assert len(await listed(workspace, ada)) == 2


async def test_every_user_of_an_appointment_is_told_that_it_begins(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """The owner and the invited, each once; contacts are no readers."""
    ada, ben = await workspace.person(), await workspace.person()
    name = f"appointments/{uuid7()}"
    people = [ada.name, ben.name, f"contacts/{uuid7()}"]
    message = AppointmentReminded(appointment=Appointment(name=name, participants=people))
    await feeds.publish(message, owner=ada.id, subject=name)
    await applied(workspace, feeds)
    for person in (ada, ben):
        (told,) = await listed(workspace, person)
        assert (told.kind, told.subject) == (Notification.APPOINTMENT_REMINDER, name)


async def test_a_person_is_told_what_customer_pools_do_with_their_accounts(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Before a pool takes it, with the time, and when it is in one; not of what they released themselves."""
    ada, boss = await workspace.person(), await workspace.person()
    account = Account(name=f"accounts/{uuid7()}", reclaim_pool=f"customerPools/{uuid7()}")
    account.reclaim_time.FromJsonString("2026-12-01T08:00:00Z")
    await feeds.publish(AccountReclaimAnnounced(account=account), owner=ada.id)
    taken = AccountPooled(account=account, previous_owner=ada.name, changed_fields=["owner"])
    await feeds.publish(taken, actor="services/customer")
    await feeds.publish(taken, actor=boss.name)
    await feeds.publish(taken, actor=ada.name)
    await feeds.publish(taken, actor=boss.name, causation_id=f"bulkActions/{uuid7()}")
    await feeds.publish(AccountPooled(account=account), actor=boss.name)
    await applied(workspace, feeds)
    released, lost, announced = await listed(workspace, ada)
    assert (announced.kind, announced.subject) == (Notification.RECLAIM_ANNOUNCED, account.name)
    assert dict(announced.parameters) == {
        "pool": account.reclaim_pool, "reclaim_time": "2026-12-01T08:00:00Z",
    }  # fmt: skip
    assert (lost.kind, lost.subject, lost.actor) == (Notification.POOLED, account.name, "")
    assert (released.kind, released.actor) == (Notification.POOLED, boss.name)
    assert await listed(workspace, boss) == []


async def test_nobody_reads_anothers_notifications(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: not by Get, List, the events or a change, and not with every right there is."""
    ada, admin = await workspace.person(), await workspace.person("*")
    await assign(feeds, ada)
    await applied(workspace, feeds)
    (theirs,) = await listed(workspace, ada)
    assert await listed(workspace, admin) == []
    for call in (
        stub(workspace).GetNotification(
            notification_pb2.GetNotificationRequest(name=theirs.name), metadata=admin.metadata
        ),
        stub(workspace).MarkNotificationRead(
            notification_pb2.MarkNotificationReadRequest(name=theirs.name), metadata=admin.metadata
        ),
        stub(workspace).DeleteNotification(
            notification_pb2.DeleteNotificationRequest(name=theirs.name), metadata=admin.metadata
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as hidden:
            await call
        assert hidden.value.code() == grpc.StatusCode.NOT_FOUND
    await workspace.events(theirs.name)
    events = event_pb2_grpc.EventServiceStub(workspace.channel)
    seen = await events.ListEvents(
        event_pb2.ListEventsRequest(subject=theirs.name), metadata=admin.metadata
    )
    assert not seen.events


async def test_strangers_have_none(workspace: ServiceUnderTest) -> None:
    """No permission is needed, a person is."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(workspace).ListNotifications(notification_pb2.ListNotificationsRequest())
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_what_was_read_counts_no_more(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    """One by one, then all; a second time changes nothing."""
    ada = await workspace.person()
    for _ in range(3):
        await assign(feeds, ada)
    await applied(workspace, feeds)
    first, *_ = await listed(workspace, ada)
    assert await unread(workspace, ada) == 3
    mark = notification_pb2.MarkNotificationReadRequest(name=first.name)
    read = await stub(workspace).MarkNotificationRead(mark, metadata=ada.metadata)
    again = await stub(workspace).MarkNotificationRead(mark, metadata=ada.metadata)
    assert (read.etag, again.etag) == ('"2"', '"2"')
    assert await unread(workspace, ada) == 2
    assert len(await listed(workspace, ada, filter="NOT read_time:*")) == 2
    everything = notification_pb2.MarkAllNotificationsReadRequest(request_id=str(uuid7()))
    answer = await stub(workspace).MarkAllNotificationsRead(everything, metadata=ada.metadata)
    assert (answer.unread_count, await unread(workspace, ada)) == (0, 0)


async def test_who_does_not_want_a_kind_is_not_told(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Kinds that are not named stay as they are."""
    ada = await workspace.person()
    preferences = notification_pb2.NotificationPreferences(
        preferences=[{"kind": "ASSIGNED", "in_app": False}]
    )
    request = notification_pb2.UpdateNotificationPreferencesRequest(preferences=preferences)
    answer = await stub(workspace).UpdateNotificationPreferences(request, metadata=ada.metadata)
    assert {p.kind: p.in_app for p in answer.preferences} == {
        number: name != "ASSIGNED" for name, number in Notification.Kind.items() if number
    }
    await assign(feeds, ada)
    await applied(workspace, feeds)
    assert await listed(workspace, ada) == []
    unknown = notification_pb2.NotificationPreferences(preferences=[{"kind": 99}])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(workspace).UpdateNotificationPreferences(
            notification_pb2.UpdateNotificationPreferencesRequest(preferences=unknown),
            metadata=ada.metadata,
        )
    assert details_of(refused.value)["fields"] == ["preferences.preferences[0].kind"]


async def test_notifications_arrive_live_and_go_on_where_they_stopped(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: after a cursor nothing is missing and nothing is another's."""
    ada, bob = await workspace.person(), await workspace.person("*")

    async def follow(count: int, cursor: str = "") -> list[Any]:
        stream = stub(workspace).StreamNotifications(
            notification_pb2.StreamNotificationsRequest(cursor=cursor), metadata=ada.metadata
        )
        found = []
        async for answer in stream:
            found.append(answer)
            if len(found) == count:
                break
        stream.cancel()
        return found

    following = asyncio.create_task(follow(1))
    await assign(feeds, bob)

    async def arrives() -> bool:
        await assign(feeds, ada)  # until the stream has begun
        await asyncio.wait({following}, timeout=0.3)
        return following.done()

    await eventually(arrives)
    (live,) = following.result()
    assert live.notification.owner == ada.name
    missed = [await assign(feeds, ada) for _ in range(3)]
    await applied(workspace, feeds)
    mark = notification_pb2.MarkNotificationReadRequest(name=live.notification.name)
    await stub(workspace).MarkNotificationRead(mark, metadata=ada.metadata)
    everything = await listed(workspace, ada)
    later = await asyncio.wait_for(follow(len(everything), live.cursor), 10)
    assert [a.notification.subject for a in later if a.notification.subject in missed] == missed
    assert {a.notification.owner for a in later} == {ada.name}
    assert later[-1].notification.HasField("read_time")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await follow(1, "nonsense")
    assert details_of(refused.value)["reason"] == "INVALID_CURSOR"


async def test_old_notifications_are_dismissed_and_old_deliveries_forgotten(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """After 90 days; the trash empties itself later. The job promises its next run."""
    ada = await workspace.person()
    await assign(feeds, ada)
    await applied(workspace, feeds)
    await workspace.database.execute(
        compile_statement(
            sa.text(
                "UPDATE notifications SET create_time = now() - interval '91 days' WHERE owner = :id"
            )
        ),
        {"id": ada.id},
    )
    call = new_call(workspace.running.home, service_principal("workspace"))
    await tidy(call, {})
    await call.tx.commit()
    await call.tx.end()
    assert await listed(workspace, ada) == []
    assert len(await listed(workspace, ada, show_deleted=True)) == 1
    jobs = "SELECT count(*) FROM job WHERE kind = 'tidy' AND due_time > now() + interval '1 hour'"
    row = await workspace.database.fetch_one(compile_statement(sa.text(jobs)))
    assert row == (1,)


async def test_the_owner_is_told_when_a_document_of_their_record_expires(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Of any service; where the record is nobody's, whoever added it."""
    ada, ben = await workspace.person(), await workspace.person()
    record = f"accounts/{uuid7()}"
    document = Document(name=f"{record}/documents/{uuid7()}", creator=ben.name)
    message = DocumentExpired(document=document, parent=record)
    for owner in (ada.id, None):
        await feeds.publish(message, owner=owner, subject=document.name)
    await applied(workspace, feeds)
    for person in (ada, ben):
        (told,) = await listed(workspace, person)
        assert (told.kind, told.subject) == (Notification.DOCUMENT_EXPIRED, record)
        assert dict(told.parameters) == {"document": document.name}
