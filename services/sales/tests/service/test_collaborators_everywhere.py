"""What is shared is found by every way of reading, as one list with what one owns."""

import asyncio
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.json_format import ParseDict

from crm.common.v1 import (
    bulk_action_pb2,
    event_pb2,
)
from crm.options.v1 import options_pb2
from crm.sales.v1 import (
    bulk_action_pb2_grpc,
    event_pb2_grpc,
    opportunity_pb2,
)
from crm.sales.v1.audit_pb2 import AuditEntryRecorded
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest

from .collaborators import (
    EDIT,
    OWN,
    delete,
    listed,
    opportunities,
    opportunity,
    refused,
    share,
    unshare,
    update,
)


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
