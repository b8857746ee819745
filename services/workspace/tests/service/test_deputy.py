"""Deputies: who is told what somebody who is away would be told."""

from datetime import timedelta

from crm.identity.v1.user_pb2 import User, UserAbsenceCleared, UserAbsenceSet
from crm.workspace.v1 import notification_pb2
from crmkit.clock import now
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest

from .test_notification import applied, assign, listed

Notification = notification_pb2.Notification


async def away(
    workspace: ServiceUnderTest,
    feeds: FeedHost,
    person: Person,
    deputy: Person | None,
    *,
    begins: int = -1,
) -> None:
    """Identity says that somebody is away for two days, from `begins` days from now; or not."""
    known = workspace.running.home.rights.users[person.id]
    roles = [f"roles/{role}" for role in known.roles]
    user = User(name=person.name, state=User.ACTIVE, roles=roles)
    if deputy is None:
        await feeds.publish(UserAbsenceCleared(user=user))
    else:
        user.absence.deputy = deputy.name
        user.absence.start_time.FromDatetime(now() + timedelta(days=begins))
        user.absence.end_time.FromDatetime(now() + timedelta(days=begins + 2))
        await feeds.publish(UserAbsenceSet(user=user))
    await applied(workspace, feeds)


async def test_a_deputy_is_told_what_somebody_who_is_away_would_be_told(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: marked as such, only of records that the deputy may read; nobody is told less."""
    reads = ("sales.opportunities.get", "ALL")
    ada, ben, outside = [await workspace.person(g) for g in (reads, reads, ("sales.*", "OWN"))]
    await away(workspace, feeds, ada, ben)
    record = await assign(feeds, ada)
    await applied(workspace, feeds)
    (own,), (stood_in,) = await listed(workspace, ada), await listed(workspace, ben)
    assert (own.subject, own.deputy_for) == (record, "")
    assert (stood_in.kind, stood_in.subject) == (Notification.ASSIGNED, record)
    assert (stood_in.deputy_for, stood_in.owner) == (ada.name, ben.name)
    assert len(await listed(workspace, ben, filter=f'deputy_for = "{ada.name}"')) == 1
    await away(workspace, feeds, ada, outside)
    await assign(feeds, ada)
    await applied(workspace, feeds)
    assert await listed(workspace, outside) == []
    assert len(await listed(workspace, ada)) == 2


async def test_deputies_of_deputies_stand_in_and_a_circle_for_nobody(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """Where the deputy is away too, it is theirs; after and before the absence it is nobody."""
    reads = ("sales.opportunities.get", "ALL")
    ada, ben, eve = [await workspace.person(reads) for _ in range(3)]
    await away(workspace, feeds, ada, ben)
    await away(workspace, feeds, ben, eve)
    await assign(feeds, ada)
    await applied(workspace, feeds)
    counts = [len(await listed(workspace, p)) for p in (ada, ben, eve)]
    assert counts == [1, 0, 1]
    await away(workspace, feeds, eve, ada)
    await assign(feeds, ada)
    await applied(workspace, feeds)
    assert [len(await listed(workspace, p)) for p in (ada, ben, eve)] == [2, 0, 1]
    for begins in (1, -5):
        await away(workspace, feeds, ada, eve, begins=begins)
        await assign(feeds, ada)
        await applied(workspace, feeds)
    await away(workspace, feeds, ada, ben)
    await away(workspace, feeds, ada, None)
    await assign(feeds, ada)
    await applied(workspace, feeds)
    assert [len(await listed(workspace, p)) for p in (ada, ben, eve)] == [5, 0, 1]
