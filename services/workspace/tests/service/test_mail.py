"""Notifications by e-mail, over a real mail server: to whom, when, once, and nothing that is hidden."""

from datetime import datetime, timedelta
from typing import Any

import grpc
import pytest
import sqlalchemy as sa

from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityUpdated
from crm.workspace.v1 import notification_pb2, notification_pb2_grpc
from crmkit.clock import now
from crmkit.errors import Unavailable
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .conftest import Mailbox, Owners

Preferences = notification_pb2.NotificationPreferences
AT_ONCE = [{"kind": "ASSIGNED", "email": "AT_ONCE"}]


async def prefer(workspace: ServiceUnderTest, person: Person, **said: Any) -> Any:
    request = notification_pb2.UpdateNotificationPreferencesRequest(preferences=Preferences(**said))
    stub = notification_pb2_grpc.NotificationServiceStub(workspace.channel)
    return await stub.UpdateNotificationPreferences(request, metadata=person.metadata)


async def assign(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, person: Person, title: str = ""
) -> str:
    """Somebody makes a record the person's; one with a title they may read."""
    name = f"opportunities/{uuid7()}"
    if title:
        owners.records[name] = Opportunity(name=name, display_name=title)
    changed = OpportunityUpdated(opportunity=Opportunity(name=name), changed_fields=["owner"])
    await feeds.publish(changed, owner=person.id, actor=f"users/{uuid7()}")
    last = (await feeds.feed.head()).last_seq
    consumed = workspace.running.home.consumed
    await eventually(lambda: all(s.applied_seq >= last for s in consumed.values()))
    return name


async def run(workspace: ServiceUnderTest, statement: str, **values: Any) -> list[Any]:
    return await workspace.database.fetch_all(compile_statement(sa.text(statement)), values)


async def waiting(workspace: ServiceUnderTest, person: Person) -> list[datetime]:
    """When what waits for a person is due."""
    rows = await run(
        workspace, 'SELECT due_time FROM notification_mails WHERE "user" = :id', id=person.id
    )
    return [row[0] for row in rows]


async def hurry(workspace: ServiceUnderTest, person: Person) -> None:
    """What waits for a person is due now."""
    moved = 'UPDATE notification_mails SET due_time = now() WHERE "user" = :id RETURNING 1'
    await run(workspace, moved, id=person.id)
    due = (
        "UPDATE job SET due_time = now() WHERE lease IS NULL AND kind = 'mail_notifications'"
        " AND arguments ->> 'user' = :user RETURNING 1"
    )
    await run(workspace, due, user=str(person.id))


async def worked_off(workspace: ServiceUnderTest, person: Person) -> None:
    """Returns once no job for a person's mail is left."""
    count = "SELECT count(*) FROM job WHERE kind = 'mail_notifications' AND arguments ->> 'user' = :user"

    async def none() -> bool:
        return await run(workspace, count, user=str(person.id)) == [(0,)]

    await eventually(none)


async def test_what_happens_within_a_minute_is_one_mail_with_titles(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """INVARIANT: to the address that identity knows, as text and HTML, in the language chosen, once."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=AT_ONCE, language_code="zh-Hans")
    await assign(workspace, feeds, owners, ada, "Rocket & Sons")
    await assign(workspace, feeds, owners, ada, "太空公司")
    assert all(due - now() < timedelta(minutes=1) for due in await waiting(workspace, ada))
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    (mail,) = mailbox.to(ada)
    assert mail["Subject"] == "CRM：2 条新通知"  # noqa: RUF001 - Chinese punctuation
    assert (mail["From"], mail["Auto-Submitted"]) == ("CRM <crm@crm.test>", "auto-generated")
    text, html = (mail.get_body((kind,)).get_content() for kind in ("plain", "html"))  # type: ignore[union-attr]
    assert "有人将 Rocket & Sons 分配给了您。" in text
    assert "Rocket &amp; Sons" in html
    assert "太空公司" in text
    assert await waiting(workspace, ada) == []
    for asked in owners.asked:
        on_behalf = None if asked.method == "GetUser" else ada.name
        assert asked.metadata.get("x-on-behalf-of") == on_behalf


async def test_the_daily_mail_waits_for_its_hour(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """At the person's hour in their time zone; a durable job waits for it."""
    ada = await workspace.person()
    said = await prefer(workspace, ada, digest_hour=17, time_zone="Asia/Shanghai")
    assert (said.digest_hour, said.time_zone) == (17, "Asia/Shanghai")
    await assign(workspace, feeds, owners, ada, "Later")
    (due,) = await waiting(workspace, ada)
    assert (due.hour, due.minute) == (9, 0)
    assert timedelta(0) < due - now() <= timedelta(days=1)
    jobs = "SELECT due_time FROM job WHERE arguments ->> 'user' = :user"
    assert await run(workspace, jobs, user=str(ada.id)) == [(due,)]
    await prefer(workspace, ada, time_zone="", digest_hour=9)
    assert await waiting(workspace, ada) == [due]  # the organisation's zone is UTC
    assert mailbox.to(ada) == []


async def test_nothing_is_mailed_of_what_may_not_be_read_any_more(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """INVARIANT: asked of the owning service, with the reader's rights, when it is sent."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=AT_ONCE)
    shown = await assign(workspace, feeds, owners, ada, "Shown")
    hidden = await assign(workspace, feeds, owners, ada, "Hidden")
    del owners.records[hidden]
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    (mail,) = mailbox.to(ada)
    told = mail.as_string()
    assert "Shown" in told
    assert "Hidden" not in told
    assert hidden.partition("/")[2] not in told
    del owners.records[shown]
    await assign(workspace, feeds, owners, ada)
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    assert len(mailbox.to(ada)) == 1
    assert await waiting(workspace, ada) == []


async def test_what_was_seen_is_not_mailed(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """Nor what is mailed to who has left."""
    ada, ben = await workspace.person(), await workspace.person()
    for person in (ada, ben):
        await assign(workspace, feeds, owners, person, "Seen")
    stub = notification_pb2_grpc.NotificationServiceStub(workspace.channel)
    await stub.MarkAllNotificationsRead(
        notification_pb2.MarkAllNotificationsReadRequest(), metadata=ada.metadata
    )
    await run(
        workspace, "UPDATE known_user SET active = false WHERE id = :id RETURNING 1", id=ben.id
    )
    await workspace.running.home.rights.reload()
    for person in (ada, ben):
        await hurry(workspace, person)
        await worked_off(workspace, person)
        assert mailbox.to(person) == []
        assert await waiting(workspace, person) == []


async def test_a_change_of_mind_counts_for_what_waits(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """Sooner, or never; also without a notification in the console."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=[{"kind": "ASSIGNED", "in_app": False}])
    await assign(workspace, feeds, owners, ada, "Sooner")
    said = await prefer(workspace, ada, preferences=AT_ONCE)
    (assigned,) = [p for p in said.preferences if p.kind == notification_pb2.Notification.ASSIGNED]
    assert (assigned.in_app, assigned.email) == (False, Preferences.AT_ONCE)
    (due,) = await waiting(workspace, ada)
    assert due - now() <= timedelta(minutes=1)
    await hurry(workspace, ada)
    await eventually(lambda: mailbox.to(ada))
    await assign(workspace, feeds, owners, ada, "Never")
    await prefer(workspace, ada, preferences=[{"kind": "ASSIGNED", "email": "OFF"}])
    assert await waiting(workspace, ada) == []
    await assign(workspace, feeds, owners, ada, "Never")
    assert await waiting(workspace, ada) == []


async def test_a_server_that_takes_nothing_now_gets_it_later(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """INVARIANT: neither lost nor doubled; the same where a service that must be asked is away."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=AT_ONCE)
    await assign(workspace, feeds, owners, ada, "Late")
    mailbox.answers[:] = ["451 later"]
    owners.refusals = [Unavailable("away")]
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    assert len(mailbox.to(ada)) == 1
    assert await waiting(workspace, ada) == []


@pytest.mark.parametrize("answer", ["hang up", "554 never"])
async def test_a_mail_that_may_have_been_taken_is_not_sent_again(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox, answer: str
) -> None:
    """INVARIANT: at most once by itself; also one that the server never takes."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=AT_ONCE)
    await assign(workspace, feeds, owners, ada, "Perhaps")
    mailbox.answers[:] = [answer]
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    assert len(mailbox.to(ada)) == (answer == "hang up")
    assert await waiting(workspace, ada) == []


async def test_what_a_dead_process_had_claimed_is_not_sent_again(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners, mailbox: Mailbox
) -> None:
    """INVARIANT: it died between claiming and noting; what came after it is sent."""
    ada = await workspace.person()
    await prefer(workspace, ada, preferences=AT_ONCE)
    await assign(workspace, feeds, owners, ada, "Claimed")
    await run(
        workspace,
        'UPDATE notification_mails SET claimed = true WHERE "user" = :id RETURNING 1',
        id=ada.id,
    )
    await assign(workspace, feeds, owners, ada, "Fresh")
    await hurry(workspace, ada)
    await worked_off(workspace, ada)
    (mail,) = mailbox.to(ada)
    assert "Fresh" in mail.as_string()
    assert "Claimed" not in mail.as_string()


@pytest.mark.parametrize(
    ("said", "field"),
    [
        ({"time_zone": "Mars/Olympus"}, "preferences.time_zone"),
        ({"digest_hour": 24}, "preferences.digest_hour"),
        ({"digest_hour": -1}, "preferences.digest_hour"),
        ({"language_code": "<script>"}, "preferences.language_code"),
        ({"preferences": [{"kind": 1, "email": 9}]}, "preferences.preferences[0].email"),
    ],
)
async def test_a_wish_that_cannot_be_is_refused(
    workspace: ServiceUnderTest, said: dict[str, Any], field: str
) -> None:
    """And changes nothing."""
    ada = await workspace.person()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await prefer(workspace, ada, **said)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [field]
