"""Followers over gRPC, shown with opportunities."""

import grpc
import pytest

from crm.common.v1 import comment_pb2, follower_pb2
from crm.sales.v1 import (
    comment_pb2_grpc,
    follower_pb2_grpc,
    opportunity_pb2,
    opportunity_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of


def stub(sales: ServiceUnderTest) -> follower_pb2_grpc.FollowerServiceStub:
    return follower_pb2_grpc.FollowerServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person) -> str:
    created = await opportunity_pb2_grpc.OpportunityServiceStub(sales.channel).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(
            opportunity=opportunity_pb2.Opportunity(display_name="Ten machines")
        ),
        metadata=person.metadata,
    )
    return str(created.name)


async def say(sales: ServiceUnderTest, person: Person, parent: str, text: str) -> None:
    comment = comment_pb2.Comment(text=text)
    request = comment_pb2.CreateCommentRequest(parent=parent, comment=comment)
    comments = comment_pb2_grpc.CommentServiceStub(sales.channel)
    await comments.CreateComment(request, metadata=person.metadata)


async def follow(sales: ServiceUnderTest, person: Person, record: str, user: str = "") -> None:
    request = follower_pb2.FollowRecordRequest(name=record, user=user)
    await stub(sales).FollowRecord(request, metadata=person.metadata)


async def unfollow(sales: ServiceUnderTest, person: Person, record: str, user: str = "") -> None:
    request = follower_pb2.UnfollowRecordRequest(name=record, user=user)
    await stub(sales).UnfollowRecord(request, metadata=person.metadata)


async def followers(sales: ServiceUnderTest, person: Person, record: str) -> tuple[set[str], bool]:
    """Who follows, and whether the person does."""
    request, found = follower_pb2.ListFollowersRequest(parent=record, page_size=1), set[str]()
    while True:
        page = await stub(sales).ListFollowers(request, metadata=person.metadata)
        users = {f.user for f in page.followers}
        assert not users & found
        found |= users
        if not page.next_page_token:
            return found, page.following
        request.page_token = page.next_page_token


async def test_owner_commenters_and_whom_they_mention_follow_a_record(
    sales: ServiceUnderTest,
) -> None:
    ada, bob, eve = [await sales.person("sales.*") for _ in range(3)]
    record = await opportunity(sales, ada)
    assert await followers(sales, ada, record) == ({ada.name}, True)
    assert await followers(sales, bob, record) == ({ada.name}, False)
    await say(sales, bob, record, f"Look, @{eve.name}")
    assert await followers(sales, eve, record) == ({ada.name, bob.name, eve.name}, True)
    (event,) = await sales.events(f"{record}/followers/{eve.id}")
    assert event.routing_key == "sales.follower.added"
    assert (event.message.user, event.message.parent) == (eve.name, record)


async def test_who_has_unfollowed_is_left_alone(sales: ServiceUnderTest) -> None:
    """INVARIANT: neither ownership nor a mention overrules one's own decision; one's next does."""
    ada, bob = await sales.person("sales.*"), await sales.person("sales.*")
    record = await opportunity(sales, ada)
    for person in (ada, bob):
        await unfollow(sales, person, record)
        await unfollow(sales, person, record)  # nothing happens
    await say(sales, bob, record, f"Look, @{ada.name}")
    assert await followers(sales, ada, record) == (set(), False)
    await follow(sales, ada, record)
    await follow(sales, ada, record)
    assert await followers(sales, ada, record) == ({ada.name}, True)
    events = await sales.events(f"{record}/followers/{ada.id}", count=2)
    assert [(e.routing_key, e.subject_version) for e in events] == [
        ("sales.follower.removed", 1),
        ("sales.follower.added", 2),
    ]


async def test_the_scope_of_the_permission_says_whom_one_lets_follow(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: OWN reaches oneself, TEAM the team, ALL everybody; the other must be able to read it."""
    team = await sales.team()
    see = ("sales.opportunities.*", "ALL")
    ada = await sales.person(see, ("sales.followers.*", "OWN"), team=team)
    mate = await sales.person(see, team=team)
    head = await sales.person(see, ("sales.followers.*", "TEAM"), team=team)
    other, root = await sales.person(see), await sales.person("*")
    blind = await sales.person("customer.*")
    record = await opportunity(sales, root)
    await follow(sales, ada, record, ada.name)
    await follow(sales, head, record, mate.name)
    await follow(sales, root, record, other.name)
    everybody = {p.name for p in (root, ada, mate, other)}
    assert (await followers(sales, ada, record))[0] == everybody
    for person, user, reason in (
        (ada, mate.name, "NOT_YOURSELF"),
        (head, other.name, "NOT_YOURSELF"),
        (root, blind.name, "CANNOT_READ_RECORD"),
        (root, "nonsense", "INVALID_FIELD"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await follow(sales, person, record, user)
        assert details_of(refused.value)["reason"] == reason
        if reason == "NOT_YOURSELF":
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await unfollow(sales, person, record, user)
            assert details_of(refused.value)["reason"] == reason
    assert (await followers(sales, ada, record))[0] == everybody
    await unfollow(sales, head, record, mate.name)
    assert (await followers(sales, ada, record))[0] == everybody - {mate.name}


async def test_who_cannot_see_a_record_neither_follows_it_nor_sees_who_does(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: the permission and the scope of reading the record."""
    ada = await sales.person(("sales.*", "OWN"))
    bob = await sales.person(("sales.*", "OWN"))
    eve = await sales.person("sales.followers.*")
    record = await opportunity(sales, ada)
    for person, code in (
        (bob, grpc.StatusCode.NOT_FOUND),
        (eve, grpc.StatusCode.PERMISSION_DENIED),
    ):
        for attempt in (
            follow(sales, person, record),
            unfollow(sales, person, record),
            followers(sales, person, record),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await attempt
            assert refused.value.code() == code
    assert await followers(sales, ada, record) == ({ada.name}, True)
