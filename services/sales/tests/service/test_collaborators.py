"""Collaborators over gRPC, shown with opportunities: what is shared, for what, and with nobody else."""

from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import (
    collaborator_pb2,
    comment_pb2,
    event_pb2,
    lookup_pb2,
    lookup_pb2_grpc,
)
from crm.sales.v1 import (
    comment_pb2_grpc,
    event_pb2_grpc,
    opportunity_pb2,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .collaborators import (
    EDIT,
    OWN,
    READ,
    Collaborator,
    delete,
    listed,
    opportunities,
    opportunity,
    refused,
    share,
    stub,
    unshare,
    update,
)


async def collaborators(sales: ServiceUnderTest, person: Person, record: str) -> list[Any]:
    request = collaborator_pb2.ListCollaboratorsRequest(parent=record)
    page = await stub(sales).ListCollaborators(request, metadata=person.metadata)
    return list(page.collaborators)


async def get(sales: ServiceUnderTest, person: Person, record: str) -> Any:
    request = opportunity_pb2.GetOpportunityRequest(name=record)
    return await opportunities(sales).GetOpportunity(request, metadata=person.metadata)


async def looked_up(sales: ServiceUnderTest, person: Person, display_name: str) -> list[str]:
    request = lookup_pb2.LookUpRecordsRequest(
        collection="opportunities", field="display_name", values=[display_name]
    )
    lookup: Any = lookup_pb2_grpc.LookupServiceStub(sales.channel)
    as_service = sales.running.home.clients.as_service(person.name)
    found = await lookup.LookUpRecords(request, metadata=as_service)
    return [match.name for match in found.matches]


async def events(sales: ServiceUnderTest, person: Person, record: str) -> list[str]:
    await sales.events(record)  # until they are in the log
    service: Any = event_pb2_grpc.EventServiceStub(sales.channel)
    request = event_pb2.ListEventsRequest(subject=record)
    page = await service.ListEvents(request, metadata=person.metadata)
    return [event.kind for event in page.events]


MAY_NOT = (grpc.StatusCode.PERMISSION_DENIED, "COLLABORATORS_MAY_NOT")
NOT_THERE = (grpc.StatusCode.NOT_FOUND, "RECORD_NOT_FOUND")


async def test_who_may_read_a_shared_record_finds_it_everywhere_and_changes_nothing(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: get, batch, list, filter, look-up, history, events and comments agree; no change does."""
    ada, bob, eve = [await sales.person(OWN) for _ in range(3)]
    title = f"Ten machines {uuid4()}"
    record, other = await opportunity(sales, ada, display_name=title), await opportunity(sales, ada)
    for person in (bob, eve):
        assert await refused(get(sales, person, record)) == NOT_THERE
    shared = await share(sales, ada, record, user=bob.name)
    assert (shared.creator, shared.user, shared.access) == (ada.name, bob.name, READ)
    assert (await get(sales, bob, record)).name == record
    batch = opportunity_pb2.BatchGetOpportunitiesRequest(names=[record])
    found = await opportunities(sales).BatchGetOpportunities(batch, metadata=bob.metadata)
    assert [o.name for o in found.opportunities] == [record]
    assert await listed(sales, bob) == [record]
    assert await listed(sales, bob, filter=f'display_name = "{title}"') == [record]
    assert await looked_up(sales, bob, title) == [record]
    assert await events(sales, bob, record) == ["sales.opportunity.created"]
    comment = comment_pb2.Comment(text=f"Seen, @{bob.name}")
    for person in (bob, ada):  # who says it, and whom it mentions, may read the record
        await comment_pb2_grpc.CommentServiceStub(sales.channel).CreateComment(
            comment_pb2.CreateCommentRequest(parent=record, comment=comment),
            metadata=person.metadata,
        )
    for attempt in (
        update(sales, bob, record, display_name="Mine"),
        delete(sales, bob, record),
        share(sales, bob, record, user=eve.name),
        opportunities(sales).WinOpportunity(
            opportunity_pb2.WinOpportunityRequest(name=record), metadata=bob.metadata
        ),
    ):
        assert await refused(attempt) == MAY_NOT
    assert await refused(get(sales, bob, other)) == NOT_THERE
    assert await refused(get(sales, eve, record)) == NOT_THERE
    assert (await listed(sales, eve), await looked_up(sales, eve, title)) == ([], [])
    assert await events(sales, eve, record) == []
    assert (await get(sales, ada, record)).display_name == title


async def test_who_edits_a_shared_record_neither_deletes_it_nor_gives_it_away(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: sharing never makes a record somebody's own; who edits it shares it on."""
    ada, bob, eve = [await sales.person(OWN) for _ in range(3)]
    record = await opportunity(sales, ada)
    await share(sales, ada, record, user=bob.name, access=EDIT)
    assert (await update(sales, bob, record, display_name="Twelve")).display_name == "Twelve"
    assert await refused(update(sales, bob, record, owner=bob.name)) == MAY_NOT
    assert await refused(delete(sales, bob, record)) == MAY_NOT
    shared_on = await share(sales, bob, record, user=eve.name)
    assert {c.user for c in await collaborators(sales, eve, record)} == {bob.name, eve.name}
    await unshare(sales, eve, shared_on.name)  # nobody has to stay
    assert await refused(get(sales, eve, record)) == NOT_THERE
    assert (await get(sales, ada, record)).owner == ada.name


async def test_a_team_shares_with_everybody_who_works_in_it_at_the_time(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: not with teams above or below; what one has for oneself and by the team, the more counts."""
    above = await sales.team()
    team = await sales.team(above)
    ada, bob = await sales.person(OWN), await sales.person(OWN, team=team)
    others = [await sales.person(OWN, team=t) for t in (above, await sales.team(team))]
    record = await opportunity(sales, ada)
    await share(sales, ada, record, team=f"teams/{team}")
    assert await listed(sales, bob) == [record]
    assert await refused(update(sales, bob, record, display_name="Ours")) == MAY_NOT
    await share(sales, ada, record, user=bob.name, access=EDIT)
    assert (await update(sales, bob, record, display_name="Ours")).display_name == "Ours"
    for other in others:
        assert await refused(get(sales, other, record)) == NOT_THERE


async def test_sharing_ends_at_once(sales: ServiceUnderTest) -> None:
    """INVARIANT: after a removal nothing shows the record any more; less access is less at once."""
    ada, bob = await sales.person(OWN), await sales.person(OWN)
    record = await opportunity(sales, ada)
    shared = await share(sales, ada, record, user=bob.name, access=EDIT)
    request = collaborator_pb2.UpdateCollaboratorRequest(
        collaborator=Collaborator(name=shared.name, access=READ, etag=shared.etag)
    )
    changed = await stub(sales).UpdateCollaborator(request, metadata=ada.metadata)
    assert (changed.access, changed.etag) == (READ, '"2"')
    assert await refused(update(sales, bob, record, display_name="Mine")) == MAY_NOT
    assert (await refused(stub(sales).UpdateCollaborator(request, metadata=ada.metadata)))[1] == (
        "ETAG_MISMATCH"
    )
    await unshare(sales, ada, shared.name)
    assert await refused(get(sales, bob, record)) == NOT_THERE
    assert (await listed(sales, bob), await events(sales, bob, record)) == ([], [])
    assert await refused(unshare(sales, ada, shared.name)) == NOT_THERE
    published = await sales.events(shared.name, count=3)
    assert [(e.routing_key, e.subject_version) for e in published] == [
        ("sales.collaborator.created", 1),
        ("sales.collaborator.updated", 2),
        ("sales.collaborator.deleted", 3),
    ]
    again = await share(sales, ada, record, user=bob.name)
    assert again.name != shared.name


async def test_sharing_gives_no_permission(sales: ServiceUnderTest) -> None:
    """INVARIANT: inside the policy: what no role of theirs allows, no sharing allows."""
    ada = await sales.person(OWN)
    reader = await sales.person(("sales.opportunities.get", "OWN"))
    blind = await sales.person("customer.*")
    record = await opportunity(sales, ada)
    for user, access in ((blind, READ), (reader, EDIT)):
        code, reason = await refused(share(sales, ada, record, user=user.name, access=access))
        assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "LACKS_PERMISSION")
    await share(sales, ada, record, user=reader.name)
    assert (await get(sales, reader, record)).name == record
    request = opportunity_pb2.ListOpportunitiesRequest()
    listing = opportunities(sales).ListOpportunities(request, metadata=reader.metadata)
    assert (await refused(listing))[0] == grpc.StatusCode.PERMISSION_DENIED


async def test_whom_a_record_is_shared_with_is_checked(sales: ServiceUnderTest) -> None:
    """The field at fault is named, and nothing is stored."""
    ada, bob = await sales.person(OWN), await sales.person(OWN)
    record = await opportunity(sales, ada)
    await share(sales, ada, record, user=bob.name)
    for fields, reason, path in (
        ({"user": bob.name}, "ALREADY_EXISTS", "collaborator.user"),
        ({}, "INVALID_FIELD", "collaborator.user"),
        ({"user": bob.name, "team": f"teams/{uuid4()}"}, "INVALID_FIELD", "collaborator.user"),
        ({"user": "nonsense"}, "INVALID_FIELD", "collaborator.user"),
        ({"team": "teams/x"}, "INVALID_FIELD", "collaborator.team"),
        ({"user": ada.name, "access": 0}, "REQUIRED_FIELD", "collaborator.access"),
        ({"user": ada.name, "access": 9}, "INVALID_FIELD", "collaborator.access"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await share(sales, ada, record, **fields)  # type: ignore[arg-type] - by name
        details = details_of(error.value)
        assert (details["reason"], details["fields"]) == (reason, [path])
    assert [c.user for c in await collaborators(sales, ada, record)] == [bob.name]


async def test_who_does_not_reach_a_record_neither_shares_it_nor_sees_with_whom(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: a record of others is not there, and stays as it was."""
    ada, bob, eve = [await sales.person(OWN) for _ in range(3)]
    record, own = await opportunity(sales, ada), await opportunity(sales, eve)
    shared = await share(sales, ada, record, user=bob.name)
    in_disguise = shared.name.replace(record, own)
    raised = collaborator_pb2.UpdateCollaboratorRequest
    for attempt in (
        share(sales, eve, record, user=eve.name, access=EDIT),
        collaborators(sales, eve, record),
        unshare(sales, eve, shared.name),
        unshare(sales, eve, in_disguise),
        stub(sales).UpdateCollaborator(
            raised(collaborator=Collaborator(name=in_disguise, access=EDIT)), metadata=eve.metadata
        ),
    ):
        assert await refused(attempt) == NOT_THERE
    raise_oneself = raised(collaborator=Collaborator(name=shared.name, access=EDIT))
    attempt = stub(sales).UpdateCollaborator(raise_oneself, metadata=bob.metadata)
    assert await refused(attempt) == MAY_NOT
    assert await collaborators(sales, ada, record) == [shared]
