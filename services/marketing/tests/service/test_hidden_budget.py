"""What is sensitive of a campaign: nobody without the right sees, guesses or writes it."""

from collections.abc import Awaitable, Iterator
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import ParseDict
from google.type.money_pb2 import Money

from crm.common.v1 import (
    bulk_action_pb2,
    collaborator_pb2,
    event_pb2,
    export_pb2,
    import_pb2,
    lookup_pb2,
    revision_pb2,
)
from crm.marketing.v1 import (
    bulk_action_pb2_grpc,
    campaign_pb2,
    collaborator_pb2_grpc,
    event_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .test_campaign import Campaign, create, stub

BUDGET = Money(currency_code="EUR", units=5000)
MORE = Money(currency_code="EUR", units=5001)
READ = "marketing.campaigns.read_sensitive"
WORK = (
    *(f"marketing.campaigns.{verb}" for verb in ("get", "list", "create", "update")),
    "marketing.events.list", "marketing.exports.*", "marketing.imports.*",
)  # fmt: skip


async def refusal(call: Awaitable[Any]) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    return (
        refused.value.code(),
        details_of(refused.value)["reason"],
        details_of(refused.value)["fields"],
    )


DENIED = (grpc.StatusCode.PERMISSION_DENIED, "FIELD_HIDDEN", ["campaign.budget"])


async def get(marketing: ServiceUnderTest, person: Person, name: str) -> Any:
    request = campaign_pb2.GetCampaignRequest(name=name)
    return await stub(marketing).GetCampaign(request, metadata=person.metadata)


async def update(
    marketing: ServiceUnderTest, person: Person, name: str, *mask: str, **fields: Any
) -> Any:
    request = campaign_pb2.UpdateCampaignRequest(
        campaign=Campaign(name=name, **fields), update_mask=FieldMask(paths=mask) if mask else None
    )
    return await stub(marketing).UpdateCampaign(request, metadata=person.metadata)


async def listed(marketing: ServiceUnderTest, person: Person, **arguments: Any) -> list[Any]:
    request = campaign_pb2.ListCampaignsRequest(page_size=1000, **arguments)
    page = await stub(marketing).ListCampaigns(request, metadata=person.metadata)
    return list(page.campaigns)


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


# -- files


async def exported(marketing: ServiceUnderTest, person: Person, **fields: Any) -> tuple[str, str]:
    """The name of an export, and its header."""
    service: Any = export_pb2_grpc.ExportServiceStub(marketing.channel)
    wanted = export_pb2.Export(resource="campaigns", **fields)
    request = export_pb2.CreateExportRequest(export=wanted)
    run = await service.CreateExport(request, metadata=person.metadata)

    async def ended() -> Any:
        asked = export_pb2.GetExportRequest(name=run.name)
        found = await service.GetExport(asked, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    assert (await eventually(ended)).state == export_pb2.Export.SUCCEEDED
    return run.name, (await downloaded(marketing, person, run.name)).partition("\r\n")[0]


async def downloaded(marketing: ServiceUnderTest, person: Person, name: str) -> str:
    service: Any = export_pb2_grpc.ExportServiceStub(marketing.channel)
    request = export_pb2.DownloadExportRequest(name=name)
    pieces = service.DownloadExport(request, metadata=person.metadata)
    return b"".join([piece.data async for piece in pieces]).decode()


async def test_an_export_holds_what_its_creator_sees(marketing: ServiceUnderTest) -> None:
    """INVARIANT: no file takes a hidden field out, neither one's own nor another's."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    await create(marketing, root, budget=BUDGET)
    name, header = await exported(marketing, bob)
    assert "budget" not in header.split(",")
    assert "goal" in header.split(",")
    everything, header = await exported(marketing, root)
    assert "budget" in header.split(",")
    limited = marketing.limited(root, *WORK)
    _, header = await exported(marketing, limited)
    assert "budget" not in header.split(",")
    for person in (bob, limited):
        assert await refusal(downloaded(marketing, person, everything)) == DENIED
    assert await downloaded(marketing, root, name)
    service: Any = export_pb2_grpc.ExportServiceStub(marketing.channel)
    texts = []
    for field in ("budget", "badget"):
        for fields in ({"fields": [field]}, {"filter": f"{field} > 1"}, {"order_by": field}):
            wanted = export_pb2.Export(resource="campaigns", **fields)
            request = export_pb2.CreateExportRequest(export=wanted)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await service.CreateExport(request, metadata=bob.metadata)
            texts.append(str(refused.value.details()).replace(field, "…"))
    assert texts[:3] == texts[3:]


async def test_sharing_a_campaign_does_not_show_what_the_right_does_not_reach(
    marketing: ServiceUnderTest,
) -> None:
    """INVARIANT: neither in the record, nor by its place in a list, nor in a file."""
    root = await marketing.person("*")
    bob = await marketing.person(*((p, "OWN") for p in WORK), (READ, "OWN"))
    own = await create(marketing, bob, budget=BUDGET, display_name="Own")
    other = await create(marketing, root, budget=MORE, display_name="A budget")
    collaborator = collaborator_pb2.Collaborator(
        user=bob.name, access=collaborator_pb2.Collaborator.EDIT
    )
    request = collaborator_pb2.CreateCollaboratorRequest(
        parent=other.name, collaborator=collaborator
    )
    sharing: Any = collaborator_pb2_grpc.CollaboratorServiceStub(marketing.channel)
    await sharing.CreateCollaborator(request, metadata=root.metadata)
    assert (await get(marketing, bob, other.name)).HasField("budget") is False
    assert await refusal(update(marketing, bob, other.name, budget=BUDGET)) == DENIED
    for arguments, names in (
        ({}, [other.name, own.name]),
        ({"filter": 'display_name = "A budget"'}, [other.name]),
        ({"order_by": "display_name"}, [other.name, own.name]),
        ({"filter": "budget > 1"}, [own.name]),
        ({"order_by": "budget desc"}, [own.name]),
    ):
        assert [c.name for c in await listed(marketing, bob, **arguments)] == names
        name, _ = await exported(marketing, bob, **arguments)
        text = await downloaded(marketing, bob, name)
        assert (text.count("\r\n") - 1, "5001" in text) == (len(names), False)


async def test_an_import_writes_it_only_with_the_right(marketing: ServiceUnderTest) -> None:
    """A mapping to it is refused; a column of its name fills nothing."""
    root, bob = await marketing.person("*"), await marketing.person(*WORK)
    service: Any = import_pb2_grpc.ImportServiceStub(marketing.channel)

    async def run(person: Person, *mappings: import_pb2.FieldMapping) -> Any:
        def pieces() -> Iterator[import_pb2.CreateUploadRequest]:
            request = import_pb2.CreateUploadRequest()
            text = f"display_name,budget,budget.currency_code\nImported {uuid7()},7,EUR\n"
            request.file.data = text.encode()
            yield request

        upload = await service.CreateUpload(pieces(), metadata=person.metadata)
        wanted = import_pb2.Import(resource="campaigns", upload=upload.name, mappings=mappings)
        request = import_pb2.CreateImportRequest(**{"import": wanted})
        started = await service.CreateImport(request, metadata=person.metadata)

        async def ended() -> Any:
            asked = import_pb2.GetImportRequest(name=started.name)
            found = await service.GetImport(asked, metadata=person.metadata)
            return found if found.HasField("end_time") else None

        assert (await eventually(ended)).created_count == 1
        (made,) = await listed(
            marketing, root, filter=f'owner = "{person.name}"', order_by="id desc"
        )
        return made

    assert (await run(bob)).HasField("budget") is False
    assert (await run(root)).budget.units == 7
    mapping = import_pb2.FieldMapping(column="budget", field="budget")
    code, reason, fields = await refusal(run(bob, mapping))
    assert (code, reason) == DENIED[:2]
    assert fields == ["import.mappings[0].field"]


async def test_what_is_written_with_a_services_own_rights_is_not_hidden_from_it(
    marketing: ServiceUnderTest,
) -> None:
    """The event that other services apply is whole."""
    root = await marketing.person("*")
    made = await create(marketing, root, budget=BUDGET)
    (event,) = await marketing.events(made.name)
    assert event.message.campaign.budget == BUDGET
    assert event.owner == UUID(root.name.partition("/")[2])


async def test_a_bulk_action_neither_shows_nor_writes_what_is_hidden(
    marketing: ServiceUnderTest,
) -> None:
    """INVARIANT: nor does its revert, its preview, or the request of another, as others see it."""
    root = await marketing.person("*")
    bob = await marketing.person(*WORK, "marketing.bulkActions.*")
    made = await create(marketing, root, budget=BUDGET)
    runs: Any = bulk_action_pb2_grpc.BulkActionServiceStub(marketing.channel)

    async def ask(person: Person, **request: Any) -> Any:
        action = {"resource": "campaigns", "action": "UPDATE", "names": [made.name]}
        action |= {"values": {"budget": {"currency_code": "EUR", "units": "5001"}}}
        action |= request.pop("action", {})
        message = {"bulk_action": action, **request}
        create = ParseDict(message, bulk_action_pb2.CreateBulkActionRequest())
        return await runs.CreateBulkAction(create, metadata=person.metadata)

    async def ended(person: Person, run: Any) -> Any:
        async def look() -> Any:
            request = bulk_action_pb2.GetBulkActionRequest(name=run.name)
            found = await runs.GetBulkAction(request, metadata=person.metadata)
            return found if found.HasField("end_time") else None

        return await eventually(look)

    async def reasons(run: Any) -> list[tuple[str, str]]:
        request = bulk_action_pb2.ListBulkActionIssuesRequest(parent=run.name)
        page = await runs.ListBulkActionIssues(request, metadata=bob.metadata)
        return [(issue.field, issue.reason) for issue in page.issues]

    shown = await ask(bob, validate_only=True)
    assert shown.samples[0].issue.reason == "FIELD_HIDDEN"
    assert await reasons(await ended(bob, await ask(bob))) == [("budget", "FIELD_HIDDEN")]
    filter_ = {"names": [], "filter": "budget > 1", "values": {"goal": "Glory"}}
    assert await refusal(ask(bob, action=filter_)) == (
        grpc.StatusCode.INVALID_ARGUMENT, "INVALID_FILTER", ["bulk_action.filter"],
    )  # fmt: skip
    done = await ended(root, await ask(root))
    assert (done.changed_count, "budget" in done.values) == (1, True)
    assert "budget" not in (await ended(bob, done)).values
    revert = bulk_action_pb2.RevertBulkActionRequest(name=done.name)
    back = await ended(bob, await runs.RevertBulkAction(revert, metadata=bob.metadata))
    assert (back.changed_count, await reasons(back)) == (0, [("budget", "FIELD_HIDDEN")])
    assert (await get(marketing, root, made.name)).budget == MORE
    back = await ended(root, await runs.RevertBulkAction(revert, metadata=root.metadata))
    assert (await get(marketing, root, made.name)).budget == BUDGET
