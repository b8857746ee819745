"""Comments over gRPC, shown with opportunities."""

from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import comment_pb2
from crm.sales.v1 import comment_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Comment = comment_pb2.Comment


def stub(sales: ServiceUnderTest) -> comment_pb2_grpc.CommentServiceStub:
    return comment_pb2_grpc.CommentServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person) -> str:
    created = await opportunity_pb2_grpc.OpportunityServiceStub(sales.channel).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(
            opportunity=opportunity_pb2.Opportunity(display_name="Ten machines")
        ),
        metadata=person.metadata,
    )
    return str(created.name)


async def say(
    sales: ServiceUnderTest, person: Person, parent: str, text: str, **fields: Any
) -> Comment:
    request_id = fields.pop("request_id", "")
    request = comment_pb2.CreateCommentRequest(
        parent=parent, comment=Comment(text=text, **fields), request_id=request_id
    )
    return await stub(sales).CreateComment(request, metadata=person.metadata)


async def get(sales: ServiceUnderTest, person: Person, name: str) -> Comment:
    return await stub(sales).GetComment(
        comment_pb2.GetCommentRequest(name=name), metadata=person.metadata
    )


async def reword(
    sales: ServiceUnderTest, person: Person, name: str, text: str, etag: str = ""
) -> Comment:
    request = comment_pb2.UpdateCommentRequest(comment=Comment(name=name, text=text, etag=etag))
    return await stub(sales).UpdateComment(request, metadata=person.metadata)


async def delete(sales: ServiceUnderTest, person: Person, name: str, etag: str = "") -> Comment:
    request = comment_pb2.DeleteCommentRequest(name=name, etag=etag)
    return await stub(sales).DeleteComment(request, metadata=person.metadata)


async def listed(
    sales: ServiceUnderTest, person: Person, parent: str, **fields: Any
) -> list[Comment]:
    request = comment_pb2.ListCommentsRequest(parent=parent, **fields)
    page = await stub(sales).ListComments(request, metadata=person.metadata)
    return list(page.comments)


async def test_a_comment_is_written_answered_and_listed_newest_first(
    sales: ServiceUnderTest,
) -> None:
    ada, bob = await sales.person("sales.*"), await sales.person("sales.*")
    record = await opportunity(sales, ada)
    first = await say(sales, ada, record, "  Who calls?\n<b>Now</b>  ")
    answer = await say(sales, bob, record, "I do.", reply_to=first.name)
    assert first.text == "Who calls?\n<b>Now</b>"
    assert (first.author, answer.author) == (ada.name, bob.name)
    assert first.name.startswith(f"{record}/comments/")
    assert await listed(sales, bob, record) == [answer, first]
    assert await get(sales, bob, answer.name) == answer
    assert answer.reply_to == first.name


async def test_an_answer_is_not_answered_nor_anything_of_another_record(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: threads have one level and stay with their record."""
    ada = await sales.person("sales.*")
    record, other = await opportunity(sales, ada), await opportunity(sales, ada)
    first = await say(sales, ada, record, "One")
    answer = await say(sales, ada, record, "Two", reply_to=first.name)
    in_disguise = first.name.replace(record, other)
    for parent, wrong in (
        (record, answer.name),
        (other, first.name),
        (other, in_disguise),
        (record, in_disguise),
        (record, f"{record}/comments/{uuid4()}"),
        (record, "nonsense"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await say(sales, ada, parent, "Three", reply_to=wrong)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(refused.value)["fields"] == ["comment.reply_to"]


async def test_whom_a_text_mentions_is_kept_as_references(sales: ServiceUnderTest) -> None:
    """Once each, in the text's order; what only looks like a mention is text."""
    ada, bob, eve = [await sales.person("sales.*") for _ in range(3)]
    record = await opportunity(sales, ada)
    text = f"@{eve.name}, ask @{bob.name} or @{eve.name}! @users/x me@{ada.name}"
    comment = await say(sales, ada, record, text)
    assert list(comment.mentions) == [eve.name, bob.name]
    changed = await reword(sales, ada, comment.name, f"@{bob.name} @{ada.name}")
    assert list(changed.mentions) == [bob.name, ada.name]
    *_, updated = await sales.events(comment.name, count=2)
    assert list(updated.message.newly_mentioned) == [ada.name]


async def test_only_who_may_read_the_record_is_mentioned(sales: ServiceUnderTest) -> None:
    """INVARIANT: a mention never tells somebody of a record that they must not know; nothing is stored."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    reader = await sales.person("sales.opportunities.get")
    strangers = [await sales.person(("sales.*", "OWN")), await sales.person("customer.*")]
    comment = await say(sales, ada, record, f"@{reader.name}")
    for stranger in strangers:
        for attempt in (
            say(sales, ada, record, f"Look, @{reader.name} and @{stranger.name}"),
            reword(sales, ada, comment.name, f"@{stranger.name}"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await attempt
            details = details_of(refused.value)
            assert (details["reason"], details["fields"]) == (
                "CANNOT_READ_RECORD",
                ["comment.text"],
            )
            assert details["metadata"]["user"] == stranger.name
    assert await listed(sales, ada, record) == [comment]


async def test_a_text_is_readable_and_does_not_mention_everybody(sales: ServiceUnderTest) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    many = " ".join(f"@users/{uuid4()}" for _ in range(51))
    for text in (many, "bell \x07", " \u200b "):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await say(sales, ada, record, text)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(refused.value)["fields"] == ["comment.text"]


async def test_events_say_who_and_where_but_not_what(sales: ServiceUnderTest) -> None:
    """INVARIANT: no text of a comment leaves the service in an event; each version has one."""
    ada, bob = await sales.person("sales.*"), await sales.person("sales.*")
    record = await opportunity(sales, ada)
    comment = await say(sales, ada, record, f"Secret word, @{bob.name}")
    await reword(sales, ada, comment.name, "Secret word again")
    await delete(sales, ada, comment.name)
    events = await sales.events(comment.name, count=3)
    assert [(e.routing_key, e.subject_version) for e in events] == [
        ("sales.comment.created", 1),
        ("sales.comment.updated", 2),
        ("sales.comment.deleted", 3),
    ]
    created = events[0].message
    assert (created.parent, created.comment.author) == (record, ada.name)
    assert list(created.comment.mentions) == [bob.name]
    assert not any(b"Secret" in e.wire.payload for e in events)
    assert {e.owner for e in events} == {ada.id}  # whoever may read the record reads its events


async def test_only_its_author_rewords_a_comment(sales: ServiceUnderTest) -> None:
    """INVARIANT: nobody speaks for somebody else, whatever their rights; the row is as it was."""
    ada, root = await sales.person(("sales.*", "OWN")), await sales.person("*")
    comment = await say(sales, ada, await opportunity(sales, ada), "Mine")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reword(sales, root, comment.name, "Yours")
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details_of(refused.value)["reason"] == "NOT_THE_AUTHOR"
    assert await get(sales, ada, comment.name) == comment
    same = await reword(sales, ada, comment.name, "Mine")
    assert same.etag == comment.etag  # nothing happened
    changed = await reword(sales, ada, comment.name, "Still mine", etag=comment.etag)
    assert (changed.text, changed.etag) == ("Still mine", '"2"')
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await reword(sales, ada, comment.name, "Late", etag=comment.etag)
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_the_scope_of_the_permission_says_whose_comments_one_deletes(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: OWN reaches one's own, TEAM the team's, ALL everybody's."""
    team = await sales.team()
    see = ("sales.opportunities.*", "ALL")
    ada = await sales.person(see, ("sales.comments.*", "OWN"), team=team)
    mate = await sales.person(see, ("sales.comments.*", "OWN"), team=team)
    head = await sales.person(see, ("sales.comments.*", "TEAM"), team=team)
    stranger = await sales.person(see, ("sales.comments.*", "TEAM"), team=await sales.team())
    root = await sales.person("*")
    record = await opportunity(sales, ada)
    for person, allowed in (
        (ada, True),
        (mate, False),
        (head, True),
        (stranger, False),
        (root, True),
    ):
        comment = await say(sales, ada, record, "Words")
        if allowed:
            await delete(sales, person, comment.name)
            continue
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await delete(sales, person, comment.name)
        assert details_of(refused.value)["reason"] == "NOT_THE_AUTHOR"
        assert await get(sales, ada, comment.name) == comment


async def test_a_deleted_comment_keeps_its_place_but_not_its_text(sales: ServiceUnderTest) -> None:
    """INVARIANT: a text that was deleted is nowhere; the thread still shows where it was."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    first = await say(sales, ada, record, f"Gone soon, @{ada.name}")
    answer = await say(sales, ada, record, "Still here", reply_to=first.name)
    gone = await delete(sales, ada, first.name)
    assert (gone.text, list(gone.mentions), gone.HasField("delete_time")) == ("", [], True)
    assert await listed(sales, ada, record) == [answer]
    assert await listed(sales, ada, record, show_deleted=True) == [answer, gone]
    rows = await sales.database.fetch_all(
        compile_statement(sa.text("SELECT 1 FROM comment WHERE text LIKE 'Gone soon%'"))
    )
    assert rows == []
    for attempt in (
        reword(sales, ada, first.name, "Back"),
        delete(sales, ada, first.name),
        say(sales, ada, record, "Hm", reply_to=first.name),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt
        assert details_of(refused.value)["reason"] == "COMMENT_DELETED"


async def test_who_cannot_see_the_record_finds_none_of_its_comments(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: a comment of an unreadable record is not found, by any method, and stays as it was."""
    ada = await sales.person(("sales.*", "OWN"))
    bob = await sales.person(("sales.*", "OWN"))
    eve = await sales.person("sales.comments.*")  # may comment, but may not read opportunities
    record, own = await opportunity(sales, ada), await opportunity(sales, bob)
    comment = await say(sales, ada, record, "Ours")
    in_disguise = comment.name.replace(record, own)
    for person, code in (
        (bob, grpc.StatusCode.NOT_FOUND),
        (eve, grpc.StatusCode.PERMISSION_DENIED),
    ):
        for attempt in (
            say(sales, person, record, "Hello"),
            get(sales, person, comment.name),
            listed(sales, person, record),
            reword(sales, person, comment.name, "Theirs"),
            delete(sales, person, comment.name),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await attempt
            assert refused.value.code() == code
    for attempt in (
        get(sales, bob, in_disguise),
        reword(sales, bob, in_disguise, "Theirs"),
        delete(sales, bob, in_disguise),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    assert await listed(sales, ada, record) == [comment]


@pytest.mark.parametrize(
    "name", ["nonsense", "accounts/x", "opportunities/x", f"opportunities/{uuid4()}/x/{uuid4()}"]
)
async def test_what_is_no_name_is_refused(sales: ServiceUnderTest, name: str) -> None:
    """The field at fault is named, whichever method it is."""
    ada = await sales.person("sales.*")
    for field, attempt in (
        ("parent", listed(sales, ada, name)),
        ("parent", say(sales, ada, name, "Hello")),
        ("name", get(sales, ada, name)),
        ("comment.name", reword(sales, ada, name, "Hello")),
        ("name", delete(sales, ada, name)),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(refused.value)["fields"] == [field]


async def test_a_repeat_says_nothing_twice(sales: ServiceUnderTest) -> None:
    """INVARIANT: one request id, one comment."""
    ada = await sales.person("sales.*")
    record, request_id = await opportunity(sales, ada), str(uuid4())
    first = await say(sales, ada, record, "Once", request_id=request_id)
    assert await say(sales, ada, record, "Once", request_id=request_id) == first
    assert await listed(sales, ada, record) == [first]


async def test_comments_are_read_in_pages(sales: ServiceUnderTest) -> None:
    """INVARIANT: pages follow one another without gap or repetition."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    said = [(await say(sales, ada, record, f"Word {n}")).name for n in range(5)]
    request = comment_pb2.ListCommentsRequest(parent=record, page_size=2)
    seen: list[str] = []
    while True:
        page = await stub(sales).ListComments(request, metadata=ada.metadata)
        seen += [c.name for c in page.comments]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == said[::-1]
    request.show_deleted = True
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).ListComments(request, metadata=ada.metadata)
    assert details_of(refused.value)["reason"] == "INVALID_PAGE_TOKEN"


async def test_a_page_of_long_comments_ends_early(sales: ServiceUnderTest) -> None:
    """INVARIANT: no page is larger than what travels in one message; nothing is left out."""
    ada = await sales.person("sales.*")
    record = await opportunity(sales, ada)
    said = [(await say(sales, ada, record, "\U0001f600" * 10_000)).name for _ in range(100)]
    request = comment_pb2.ListCommentsRequest(parent=record, page_size=1000)
    page = await stub(sales).ListComments(request, metadata=ada.metadata)
    assert len(page.comments) < len(said)
    request.page_token = page.next_page_token
    rest = await stub(sales).ListComments(request, metadata=ada.metadata)
    assert [c.name for c in (*page.comments, *rest.comments)] == said[::-1]
    assert not rest.next_page_token


async def test_a_deleted_record_is_not_talked_about_and_a_purged_one_takes_its_comments_along(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: nothing is left of what belonged to a record that is no more."""
    root = await sales.person("*")
    record = await opportunity(sales, root)
    comment = await say(sales, root, record, "Last words")
    opportunities = opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)
    await opportunities.DeleteOpportunity(
        opportunity_pb2.DeleteOpportunityRequest(name=record), metadata=root.metadata
    )
    assert await listed(sales, root, record) == [comment]
    for attempt in (say(sales, root, record, "More"), reword(sales, root, comment.name, "Other")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await attempt
        assert details_of(refused.value)["reason"] == "RECORD_DELETED"
    await opportunities.PurgeOpportunity(
        opportunity_pb2.PurgeOpportunityRequest(name=record), metadata=root.metadata
    )
    for table in ("comment", "follower"):
        query = compile_statement(sa.text(f"SELECT 1 FROM {table} WHERE record = :record"))
        parameters = {"record": UUID(record.partition("/")[2])}
        assert await sales.database.fetch_all(query, parameters) == []
