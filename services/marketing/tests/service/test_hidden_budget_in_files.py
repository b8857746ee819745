"""What is sensitive stays so in exports, imports and bulk actions."""

from collections.abc import Iterator
from typing import Any
from uuid import UUID

import grpc
import pytest
from google.protobuf.json_format import ParseDict

from crm.common.v1 import (
    bulk_action_pb2,
    collaborator_pb2,
    export_pb2,
    import_pb2,
)
from crm.marketing.v1 import (
    bulk_action_pb2_grpc,
    collaborator_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

from .budgets import BUDGET, DENIED, MORE, READ, WORK, get, listed, refusal, update
from .test_campaign import create


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
