"""Collaborators over gRPC, shown with opportunities: what is shared, for what, and with nobody else."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.json_format import ParseDict

from crm.common.v1 import (
    bulk_action_pb2,
    collaborator_pb2,
    comment_pb2,
    event_pb2,
    lookup_pb2,
    lookup_pb2_grpc,
)
from crm.options.v1 import options_pb2
from crm.sales.v1 import (
    bulk_action_pb2_grpc,
    collaborator_pb2_grpc,
    comment_pb2_grpc,
    event_pb2_grpc,
    opportunity_pb2,
    opportunity_pb2_grpc,
)
from crm.sales.v1.audit_pb2 import AuditEntryRecorded
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Collaborator = collaborator_pb2.Collaborator
Opportunity = opportunity_pb2.Opportunity
READ, EDIT = Collaborator.READ, Collaborator.EDIT
OWN = ("sales.*", "OWN")


def stub(sales: ServiceUnderTest) -> Any:
    return collaborator_pb2_grpc.CollaboratorServiceStub(sales.channel)


def opportunities(sales: ServiceUnderTest) -> Any:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person, **fields: Any) -> str:
    values = {"display_name": "Ten machines", **fields}
    request = opportunity_pb2.CreateOpportunityRequest(opportunity=Opportunity(**values))
    created = await opportunities(sales).CreateOpportunity(request, metadata=person.metadata)
    return str(created.name)


async def share(
    sales: ServiceUnderTest,
    person: Person,
    record: str,
    *,
    user: str = "",
    team: str = "",
    access: Any = READ,
) -> Any:
    collaborator = Collaborator(user=user, team=team, access=access)
    request = collaborator_pb2.CreateCollaboratorRequest(parent=record, collaborator=collaborator)
    return await stub(sales).CreateCollaborator(request, metadata=person.metadata)


async def unshare(sales: ServiceUnderTest, person: Person, name: str) -> None:
    request = collaborator_pb2.DeleteCollaboratorRequest(name=name)
    await stub(sales).DeleteCollaborator(request, metadata=person.metadata)


async def collaborators(sales: ServiceUnderTest, person: Person, record: str) -> list[Any]:
    request = collaborator_pb2.ListCollaboratorsRequest(parent=record)
    page = await stub(sales).ListCollaborators(request, metadata=person.metadata)
    return list(page.collaborators)


async def get(sales: ServiceUnderTest, person: Person, record: str) -> Any:
    request = opportunity_pb2.GetOpportunityRequest(name=record)
    return await opportunities(sales).GetOpportunity(request, metadata=person.metadata)


async def update(sales: ServiceUnderTest, person: Person, record: str, **fields: Any) -> Any:
    changed = Opportunity(name=record, **fields)
    request = opportunity_pb2.UpdateOpportunityRequest(opportunity=changed)
    return await opportunities(sales).UpdateOpportunity(request, metadata=person.metadata)


async def delete(sales: ServiceUnderTest, person: Person, record: str) -> Any:
    request = opportunity_pb2.DeleteOpportunityRequest(name=record)
    return await opportunities(sales).DeleteOpportunity(request, metadata=person.metadata)


async def listed(sales: ServiceUnderTest, person: Person, **fields: Any) -> list[str]:
    """The names of all pages."""
    request, names = opportunity_pb2.ListOpportunitiesRequest(**fields), []
    while True:
        page = await opportunities(sales).ListOpportunities(request, metadata=person.metadata)
        names += [o.name for o in page.opportunities]
        if not page.next_page_token:
            return names
        request.page_token = page.next_page_token


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


async def refused(attempt: Any) -> tuple[grpc.StatusCode, str]:
    """Code and reason."""
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await attempt
    return error.value.code(), details_of(error.value)["reason"]


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


@pytest.mark.parametrize(
    "order_by", ["", "display_name", "amount desc", "update_time desc, display_name"]
)
async def test_own_and_shared_records_are_one_list(sales: ServiceUnderTest, order_by: str) -> None:
    """INVARIANT: in every order each once, on whatever page; the shared ones of the own are not doubled."""
    ada, bob = await sales.person(OWN), await sales.person(OWN)
    names = [
        await opportunity(sales, (ada, bob)[n % 2], display_name=f"No {n % 5}") for n in range(14)
    ]
    for name in names[:10:2]:
        await share(sales, ada, name, user=bob.name)
    await share(sales, bob, names[1], user=bob.name)
    expected = {*names[1::2], *names[:10:2]}
    pages = await listed(sales, bob, order_by=order_by, page_size=3)
    assert sorted(pages) == sorted(expected)
    root = await sales.person("*")
    everything = await listed(sales, root, order_by=order_by)
    assert pages == [name for name in everything if name in expected]


async def test_a_bulk_action_changes_what_is_shared_for_editing_and_deletes_nothing_of_it(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: together as one by one; what may only be read is not chosen."""
    ada, bob = await sales.person(OWN), await sales.person(OWN)
    title = f"Ten machines {uuid4()}"
    own = await opportunity(sales, bob, display_name=title)
    read, edit = [await opportunity(sales, ada, display_name=title) for _ in range(2)]
    await share(sales, ada, read, user=bob.name)
    await share(sales, ada, edit, user=bob.name, access=EDIT)
    service: Any = bulk_action_pb2_grpc.BulkActionServiceStub(sales.channel)
    wanted = {"resource": "opportunities", "filter": f'display_name = "{title}"'}
    values = {"values": {"next_step": "Call"}}
    for action, records in (
        ({**wanted, **values, "action": "UPDATE"}, {own, edit}),
        ({**wanted, "action": "DELETE"}, {own}),
    ):
        bulk_action = ParseDict(action, bulk_action_pb2.BulkAction())
        request = bulk_action_pb2.CreateBulkActionRequest(
            bulk_action=bulk_action, validate_only=True
        )
        shown = await service.CreateBulkAction(request, metadata=bob.metadata)
        assert {sample.record for sample in shown.samples} == records
        assert not [sample for sample in shown.samples if sample.HasField("issue")]


async def test_live_events_of_shared_records_arrive(sales: ServiceUnderTest) -> None:
    """INVARIANT: from the moment of sharing until its end, and no others."""
    ada, bob = await sales.person(OWN), await sales.person(OWN)
    record, other = await opportunity(sales, ada), await opportunity(sales, ada)
    for name in (record, other):
        await sales.events(name)  # before the stream begins
    service: Any = event_pb2_grpc.EventServiceStub(sales.channel)
    stream = service.StreamEvents(event_pb2.StreamEventsRequest(), metadata=bob.metadata)
    await stream.initial_metadata()
    shared = await share(sales, ada, record, user=bob.name)
    await update(sales, ada, other, display_name="Not for Bob")
    await update(sales, ada, record, display_name="For Bob")
    async with asyncio.timeout(10):
        seen = [(await stream.read()).subject for _ in range(2)]
    assert seen == [shared.name, record]
    await unshare(sales, ada, shared.name)
    await update(sales, ada, record, display_name="Not for Bob either")
    own = await opportunity(sales, bob)
    async with asyncio.timeout(10):
        assert (await stream.read()).subject == own
    stream.cancel()


async def test_a_purged_record_is_shared_with_nobody(sales: ServiceUnderTest) -> None:
    """INVARIANT: nothing is left of what belonged to a record that is no more."""
    root, bob = await sales.person("*"), await sales.person(OWN)
    record = await opportunity(sales, root)
    await share(sales, root, record, user=bob.name)
    await delete(sales, root, record)
    code, reason = await refused(share(sales, root, record, user=root.name))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "RECORD_DELETED")
    await opportunities(sales).PurgeOpportunity(
        opportunity_pb2.PurgeOpportunityRequest(name=record), metadata=root.metadata
    )
    query = compile_statement(sa.text("SELECT 1 FROM collaborator WHERE record = :record"))
    assert await sales.database.fetch_all(query, {"record": UUID(record[14:])}) == []


async def test_the_audit_log_hears_who_shared_what(sales: ServiceUnderTest) -> None:
    """INVARIANT: sharing gives somebody a right: each time it is recorded, and each refusal."""
    ada, bob = await sales.person(OWN), await sales.person(("sales.opportunities.*", "OWN"))
    record = await opportunity(sales, ada)
    shared = await share(sales, ada, record, user=bob.name)
    await unshare(sales, ada, shared.name)
    code, _ = await refused(share(sales, bob, record, user=bob.name))
    assert code == grpc.StatusCode.PERMISSION_DENIED
    query = compile_statement(
        sa.text(
            "SELECT payload FROM event_log WHERE routing_key = 'sales.audit_entry.recorded'"
            " AND actor = ANY (:actors) ORDER BY feed_seq"
        )
    )

    async def recorded() -> list[Any] | None:
        rows = await sales.database.fetch_all(query, {"actors": [ada.name, bob.name]})
        return rows if len(rows) == 3 else None

    payloads = await eventually(recorded) or []
    entries = [AuditEntryRecorded.FromString(bytes(row[0])).record for row in payloads]
    assert {entry.category for entry in entries} == {options_pb2.RIGHTS}
    assert [(e.action.rpartition(".")[2], e.subject, e.reason) for e in entries] == [
        ("CreateCollaborator", shared.name, ""),
        ("DeleteCollaborator", shared.name, ""),
        ("CreateCollaborator", "", "PERMISSION_DENIED"),
    ]
