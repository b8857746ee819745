"""What is sensitive of a campaign: nobody without the right sees, guesses or writes it."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask

from crm.common.v1 import (
    event_pb2,
    lookup_pb2,
    revision_pb2,
)
from crm.marketing.v1 import (
    campaign_pb2,
    event_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing.harness import ServiceUnderTest

from .budgets import BUDGET, DENIED, MORE, READ, WORK, get, listed, refusal, update
from .test_campaign import Campaign, create, stub


async def test_a_hidden_field_is_absent_and_said_to_be_hidden(marketing: ServiceUnderTest) -> None:
    """INVARIANT: no answer holds it, in none of the ways in which a record is answered."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    made = await create(marketing, root, budget=BUDGET)
    assert (made.budget, list(made.hidden_fields)) == (BUDGET, [])
    batch = campaign_pb2.BatchGetCampaignsRequest(names=[made.name])
    together = campaign_pb2.BatchUpdateCampaignsRequest(
        names=[made.name], campaign=Campaign(goal="Glory"), update_mask=FieldMask(paths=["goal"])
    )
    answers = [
        await get(marketing, bob, made.name),
        *await listed(marketing, bob, filter=f'name = "{made.name}"'),
        *(await stub(marketing).BatchGetCampaigns(batch, metadata=bob.metadata)).campaigns,
        *(await stub(marketing).BatchUpdateCampaigns(together, metadata=bob.metadata)).campaigns,
        await update(marketing, bob, made.name, goal="Fame"),
        await create(marketing, bob),
    ]
    for answer in answers:
        assert not answer.HasField("budget")
        assert list(answer.hidden_fields) == ["budget"]
    assert (await get(marketing, root, made.name)).budget == BUDGET


async def test_a_repeat_of_a_request_shows_what_its_caller_may_see(
    marketing: ServiceUnderTest,
) -> None:
    """A kept answer is no way around: a limited key repeats what its user asked."""
    root = await marketing.person("*")
    request = campaign_pb2.CreateCampaignRequest(
        campaign=Campaign(display_name="Once", budget=BUDGET), request_id=str(uuid7())
    )
    first = await stub(marketing).CreateCampaign(request, metadata=root.metadata)
    limited = marketing.limited(root, *WORK)
    again = await stub(marketing).CreateCampaign(request, metadata=limited.metadata)
    assert (first.name, first.budget) == (again.name, BUDGET)
    assert (again.HasField("budget"), list(again.hidden_fields)) == (False, ["budget"])


async def test_the_right_has_a_record_scope(marketing: ServiceUnderTest) -> None:
    """INVARIANT: beyond it the field is hidden; a list is cut only by what is seen in all of it."""
    root = await marketing.person("*")
    bob = await marketing.person(*WORK, (READ, "OWN"))
    own, other = (
        await create(marketing, bob, budget=BUDGET),
        await create(marketing, root, budget=BUDGET),
    )
    seen = {c.name: c.HasField("budget") for c in await listed(marketing, bob)}
    assert (seen[own.name], seen[other.name]) == (True, False)
    assert (await update(marketing, bob, own.name, budget=MORE)).budget == MORE
    assert await refusal(update(marketing, bob, other.name, budget=MORE)) == DENIED
    code, reason, _ = await refusal(listed(marketing, bob, filter="budget > 1"))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FILTER")
    narrow = await marketing.person(*((p, "OWN") for p in WORK), (READ, "OWN"))
    mine = await create(marketing, narrow, budget=BUDGET)
    found = await listed(marketing, narrow, filter="budget = 5000", order_by="budget desc")
    assert [c.name for c in found] == [mine.name]


@pytest.mark.parametrize(
    "arguments", [{"filter": "{} > 1"}, {"filter": "{}.currency_code = EUR"}, {"order_by": "{} desc"}]
)  # fmt: skip
async def test_to_a_filter_a_hidden_field_is_an_unknown_one(
    marketing: ServiceUnderTest, arguments: dict[str, str]
) -> None:
    """INVARIANT: guarantees row 3: the same text, also where others' lists have used the field before."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    texts = {}
    for field in ("budget", "badget"):
        asked = {name: text.format(field) for name, text in arguments.items()}
        if field == "budget":
            await listed(marketing, root, **asked)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await listed(marketing, bob, **asked)
        assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        texts[field] = str(refused.value.details()).replace(field, "…")
    assert texts["budget"] == texts["badget"]


async def test_a_lookup_by_a_hidden_field_is_refused(marketing: ServiceUnderTest) -> None:
    """As by one that is no text."""
    bob = await marketing.person(*WORK)
    look_up: Any = marketing.channel.unary_unary(
        "/crm.common.v1.LookupService/LookUpRecords",
        request_serializer=lookup_pb2.LookUpRecordsRequest.SerializeToString,
        response_deserializer=lookup_pb2.LookUpRecordsResponse.FromString,
    )
    request = lookup_pb2.LookUpRecordsRequest(
        collection="campaigns", field="budget", values=["5000"]
    )
    as_service = marketing.running.home.clients.as_service(bob.name)
    code, _, fields = await refusal(look_up(request, metadata=as_service))
    assert (code, fields) == (grpc.StatusCode.INVALID_ARGUMENT, ["field"])


async def test_who_does_not_see_it_leaves_it_as_it_is(marketing: ServiceUnderTest) -> None:
    """INVARIANT: a change by somebody who does not see a field never clears it, and never sets it."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    made = await create(marketing, root, budget=BUDGET)
    read = await get(marketing, bob, made.name)
    read.goal = "Fame"
    sent = campaign_pb2.UpdateCampaignRequest(campaign=read)
    await stub(marketing).UpdateCampaign(sent, metadata=bob.metadata)
    await update(marketing, bob, made.name, "*", display_name="All else")
    for mask, fields in (
        (("budget",), {"budget": MORE}),
        (("budget",), {"budget": BUDGET}),  # what is there already: no way to guess it
        (("budget",), {}),
        ((), {"budget": MORE}),
        (("*",), {"budget": MORE, "display_name": "x"}),
    ):
        assert await refusal(update(marketing, bob, made.name, *mask, **fields)) == DENIED
    assert await refusal(create(marketing, bob, budget=BUDGET)) == DENIED
    request = campaign_pb2.BatchUpdateCampaignsRequest(
        names=[made.name], campaign=Campaign(budget=BUDGET), update_mask=FieldMask(paths=["budget"])
    )
    batch = stub(marketing).BatchUpdateCampaigns(request, metadata=bob.metadata)
    assert await refusal(batch) == DENIED
    kept = await get(marketing, root, made.name)
    assert (kept.budget, kept.display_name, kept.goal) == (BUDGET, "All else", "")


async def test_history_and_events_hide_it_too(marketing: ServiceUnderTest) -> None:
    """INVARIANT: that it changed is said; from what to what is not."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    made = await create(marketing, root, budget=BUDGET)
    await update(marketing, root, made.name, budget=MORE)
    request = revision_pb2.ListRevisionsRequest(parent=made.name)
    for person, hidden in ((root, False), (bob, True)):
        page = await stub(marketing).ListRevisions(request, metadata=person.metadata)
        changes = [c for r in page.revisions for c in r.changes if c.field == "budget"]
        assert [c.hidden for c in changes] == [hidden, hidden]
        assert [c.HasField("new_value") for c in changes] == [not hidden, not hidden]
    await marketing.events(made.name, count=2)
    events: Any = event_pb2_grpc.EventServiceStub(marketing.channel)
    asked = event_pb2.ListEventsRequest(subject=made.name)
    for person, hidden in ((root, False), (bob, True)):
        page = await events.ListEvents(asked, metadata=person.metadata)
        campaigns = [event.data["campaign"] for event in page.events]
        assert ["budget" in c for c in campaigns] == [not hidden, not hidden]
        assert ["hidden_fields" in c for c in campaigns] == [hidden, hidden]
    stream = events.StreamEvents(event_pb2.StreamEventsRequest(), metadata=bob.metadata)
    await stream.initial_metadata()
    await update(marketing, root, made.name, budget=BUDGET)
    event = await stream.read()
    stream.cancel()
    assert event.subject == made.name
    assert "budget" not in event.data["campaign"]
