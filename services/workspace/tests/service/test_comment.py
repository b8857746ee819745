"""Who is told of comments on other services' records, and of their being shared."""

from typing import Any

import sqlalchemy as sa

from crm.common.v1.collaborator_pb2 import Collaborator
from crm.common.v1.comment_pb2 import Comment
from crm.identity.v1.organization_pb2 import Organization, OrganizationUpdated
from crm.sales.v1.audit_pb2 import AuditEntryRecorded
from crm.sales.v1.collaborator_pb2 import CollaboratorCreated, CollaboratorDeleted
from crm.sales.v1.comment_pb2 import CommentCreated, CommentDeleted, CommentUpdated
from crm.sales.v1.follower_pb2 import FollowerAdded, FollowerRemoved
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityPurged
from crm.workspace.v1 import notification_pb2, notification_pb2_grpc
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest

Notification = notification_pb2.Notification
MENTIONED, COMMENTED, SHARED = (
    Notification.MENTIONED, Notification.COMMENTED, Notification.SHARED,
)  # fmt: skip
READS = "sales.opportunities.get"


class Talk:
    """One opportunity of another service, and what is said about it."""

    def __init__(self, workspace: ServiceUnderTest, feeds: FeedHost, owner: Person) -> None:
        self.workspace, self.feeds, self.owner = workspace, feeds, owner
        self.record = f"opportunities/{uuid7()}"

    async def publish(self, message: Any, **attributes: Any) -> None:
        values = {"owner": self.owner.id, "actor": f"users/{uuid7()}", **attributes}
        await self.feeds.publish(message, **values)

    async def say(self, *mentioned: str, **attributes: Any) -> str:
        name = f"{self.record}/comments/{uuid7()}"
        comment = Comment(name=name, mentions=mentioned)
        created = CommentCreated(comment=comment, parent=self.record)
        await self.publish(created, subject=name, **attributes)
        return name

    async def decide(self, person: Person, *, following: bool) -> None:
        event = FollowerAdded if following else FollowerRemoved
        message = event(user=person.name, parent=self.record)
        await self.publish(message, subject=f"{self.record}/followers/{person.id}")

    async def share(self, event: type[Any], name: str, **grantee: str) -> None:
        collaborator = Collaborator(name=name, access=Collaborator.READ, **grantee)
        await self.publish(event(collaborator=collaborator, parent=self.record), subject=name)

    async def told(self, person: Person) -> list[tuple[int, str]]:
        """Kind and subject of a person's notifications, oldest first, once all is applied."""
        last = (await self.feeds.feed.head()).last_seq
        consumed = self.workspace.running.home.consumed
        await eventually(lambda: all(s.applied_seq >= last for s in consumed.values()))
        stub: Any = notification_pb2_grpc.NotificationServiceStub(self.workspace.channel)
        request = notification_pb2.ListNotificationsRequest()
        answer = await stub.ListNotifications(request, metadata=person.metadata)
        return [(n.kind, n.subject) for n in reversed(answer.notifications)]


async def test_whom_a_comment_mentions_is_told_once_if_they_may_read_the_record(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: nobody without rights, not of one's own doing, and of a change only whom it adds."""
    owner, reader = await workspace.person(READS), await workspace.person(READS)
    stranger = await workspace.person()
    talk = Talk(workspace, feeds, owner)
    await talk.decide(owner, following=False)
    await talk.decide(reader, following=True)
    name = await talk.say(reader.name, stranger.name, f"users/{uuid7()}")
    await talk.say(reader.name, actor=reader.name)
    comment = Comment(name=name, mentions=[reader.name, owner.name])
    parent = talk.record
    updated = CommentUpdated(comment=comment, parent=parent, newly_mentioned=[owner.name])
    await talk.publish(updated, subject=name)
    await talk.publish(CommentDeleted(comment=comment, parent=parent), subject=name)
    assert await talk.told(reader) == [(MENTIONED, name)]
    assert await talk.told(owner) == [(MENTIONED, name)]
    assert await talk.told(stranger) == []


async def test_who_follows_a_record_is_told_of_comments_while_they_may_read_it(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: followers and the owner, neither who wrote it nor who has unfollowed or lost the right."""
    owner, reader = await workspace.person(READS), await workspace.person(READS)
    former = await workspace.person((READS, "OWN"))
    talk = Talk(workspace, feeds, owner)
    for person in (reader, former):
        await talk.decide(person, following=True)
    first = await talk.say(actor=reader.name)
    second = await talk.say(actor=owner.name)
    await talk.say(imported=True)
    for person in (owner, reader):
        await talk.decide(person, following=False)
    await talk.say()
    assert await talk.told(owner) == [(COMMENTED, first)]
    assert await talk.told(reader) == [(COMMENTED, second)]
    assert await talk.told(former) == []


async def test_who_wants_no_mentions_still_hears_of_comments_on_what_they_follow(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Each kind is turned off by itself."""
    owner = await workspace.person(READS)
    talk = Talk(workspace, feeds, owner)
    stub: Any = notification_pb2_grpc.NotificationServiceStub(workspace.channel)

    async def turn_off(kind: str) -> None:
        preferences = notification_pb2.NotificationPreferences(
            preferences=[{"kind": kind, "in_app": False}]
        )
        await stub.UpdateNotificationPreferences(
            notification_pb2.UpdateNotificationPreferencesRequest(preferences=preferences),
            metadata=owner.metadata,
        )

    await turn_off("MENTIONED")
    name = await talk.say(owner.name)
    assert await talk.told(owner) == [(COMMENTED, name)]
    await turn_off("COMMENTED")
    await talk.say(owner.name)
    assert await talk.told(owner) == [(COMMENTED, name)]


async def test_nobody_follows_a_record_that_is_no_more(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: what was decided about a purged record is forgotten."""
    owner, reader = await workspace.person(READS), await workspace.person(READS)
    talk = Talk(workspace, feeds, owner)
    await talk.decide(reader, following=True)
    await talk.publish(OpportunityPurged(opportunity=Opportunity(name=talk.record)))
    await talk.say()
    assert await talk.told(reader) == []


async def test_with_whom_a_record_is_shared_is_told_of_it_while_it_is_shared(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: as in the service that owns it: a user by name, a team's people as they are today."""
    team = await workspace.team()
    owner, user = await workspace.person(READS), await workspace.person((READS, "OWN"))
    mate, blind = await workspace.person((READS, "OWN"), team=team), await workspace.person()
    talk = Talk(workspace, feeds, owner)
    shares = {
        f"{talk.record}/collaborators/{uuid7()}": grantee
        for grantee in ({"user": user.name}, {"team": f"teams/{team}"}, {"user": blind.name})
    }
    for name, grantee in shares.items():
        await talk.share(CollaboratorCreated, name, **grantee)
    everybody = [person.name for person in (user, mate, blind)]
    first = await talk.say(*everybody)
    for name, grantee in shares.items():
        await talk.share(CollaboratorDeleted, name, **grantee)
    await talk.say(*everybody)
    assert await talk.told(user) == [(SHARED, talk.record), (MENTIONED, first)]
    assert await talk.told(mate) == [(MENTIONED, first)]
    assert await talk.told(blind) == []


async def test_events_of_what_is_never_shared_are_applied_too(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """A subject need not be a record with a UUID: settings and entries of a log have other names."""
    owner = await workspace.person()
    talk = Talk(workspace, feeds, owner)
    await talk.publish(AuditEntryRecorded(), subject="auditEntries/not-a-uuid")
    await talk.publish(OrganizationUpdated(organization=Organization(name="organization")))
    await talk.told(owner)
    parked = compile_statement(sa.text("SELECT error FROM parked_event"))
    assert await workspace.database.fetch_all(parked) == []
