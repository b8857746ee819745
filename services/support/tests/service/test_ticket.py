"""Tickets over gRPC: what a client may rely on."""

from dataclasses import replace
from datetime import UTC, datetime

import grpc
import pytest

from crm.support.v1 import ticket_pb2, ticket_pb2_grpc
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.errors import InvalidArgument
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from support.storage.ticket import TICKETS

Ticket = ticket_pb2.Ticket


def stub(support: ServiceUnderTest) -> ticket_pb2_grpc.TicketServiceStub:
    return ticket_pb2_grpc.TicketServiceStub(support.channel)


async def create(support: ServiceUnderTest, person: Person, **fields: object) -> ticket_pb2.Ticket:
    ticket = Ticket(**{"subject": "It is broken", **fields})  # type: ignore[arg-type]
    return await stub(support).CreateTicket(
        ticket_pb2.CreateTicketRequest(ticket=ticket), metadata=person.metadata
    )


async def test_a_ticket_goes_from_new_to_closed_and_back(support: ServiceUnderTest) -> None:
    """INVARIANT: every step is one version and one event; nothing personal is published."""
    ada = await support.person("support.*", "customer.*")
    account = await support.know("accounts")
    ticket = await create(
        support, ada, account=f"accounts/{account}", description="Jane says it smokes"
    )
    assert ticket.number.startswith("T-")
    assert (ticket.state, ticket.kind, ticket.priority) == (
        Ticket.NEW, Ticket.QUESTION, Ticket.Priority.NORMAL,
    )  # fmt: skip
    assert ticket.open_time == ticket.create_time
    name = ticket.name
    steps = [
        (stub(support).StartTicket, ticket_pb2.StartTicketRequest(name=name), Ticket.OPEN),
        (
            stub(support).WaitTicket,
            ticket_pb2.WaitTicketRequest(name=name, waiting_state=Ticket.ON_HOLD),
            Ticket.ON_HOLD,
        ),
        (stub(support).ResumeTicket, ticket_pb2.ResumeTicketRequest(name=name), Ticket.OPEN),
        (
            stub(support).ResolveTicket,
            ticket_pb2.ResolveTicketRequest(name=name, resolution="Jane got a new one"),
            Ticket.RESOLVED,
        ),
        (stub(support).CloseTicket, ticket_pb2.CloseTicketRequest(name=name), Ticket.CLOSED),
        (stub(support).ReopenTicket, ticket_pb2.ReopenTicketRequest(name=name), Ticket.OPEN),
    ]
    for method, request, state in steps:
        ticket = await method(request, metadata=ada.metadata)
        assert ticket.state == state
    assert (ticket.reopen_count, ticket.HasField("close_time")) == (1, False)
    assert ticket.resolution == "Jane got a new one"
    events = await support.events(name, count=7)
    assert [e.routing_key for e in events] == [
        f"support.ticket.{past}"
        for past in ("created", "started", "waiting", "resumed", "resolved", "closed", "reopened")
    ]
    assert not any(b"Jane" in e.wire.payload or b"broken" in e.wire.payload for e in events)


async def test_numbers_are_unique_and_grow(support: ServiceUnderTest) -> None:
    """INVARIANT: a number names one ticket; gaps are allowed."""
    ada = await support.person("support.*")
    numbers = [(await create(support, ada)).number for _ in range(3)]
    assert numbers == sorted(set(numbers))


async def test_an_illegal_transition_names_the_allowed_methods(support: ServiceUnderTest) -> None:
    """INVARIANT: a wrong state is FAILED_PRECONDITION, with what is allowed in its metadata."""
    ada = await support.person("support.*")
    ticket = await create(support, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(support).CloseTicket(
            ticket_pb2.CloseTicketRequest(name=ticket.name), metadata=ada.metadata
        )
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    found = details_of(refused.value)
    assert found["reason"] == "ILLEGAL_TRANSITION"
    assert found["metadata"]["state"] == "NEW"
    assert found["metadata"]["allowed_methods"] == "start"


@pytest.mark.parametrize("state", [Ticket.CLOSED, Ticket.STATE_UNSPECIFIED, 99])
async def test_waiting_in_another_state_is_refused(support: ServiceUnderTest, state: int) -> None:
    """Also with a value that the contract does not know."""
    ada = await support.person("support.*")
    ticket = await create(support, ada)
    await stub(support).StartTicket(
        ticket_pb2.StartTicketRequest(name=ticket.name), metadata=ada.metadata
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(support).WaitTicket(
            ticket_pb2.WaitTicketRequest(name=ticket.name, waiting_state=state),  # type: ignore[arg-type]
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["waiting_state"]


async def test_a_stale_etag_is_refused(support: ServiceUnderTest) -> None:
    """INVARIANT: custom methods check the etag like any change."""
    ada = await support.person("support.*")
    ticket = await create(support, ada)
    started = await stub(support).StartTicket(
        ticket_pb2.StartTicketRequest(name=ticket.name, etag=ticket.etag), metadata=ada.metadata
    )
    assert started.etag != ticket.etag
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(support).ResolveTicket(
            ticket_pb2.ResolveTicketRequest(name=ticket.name, etag=ticket.etag),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_an_imported_ticket_brings_its_history(support: ServiceUnderTest) -> None:
    """INVARIANT: events of an import carry the times at which things happened."""
    opened, solved = datetime(2026, 1, 5, tzinfo=UTC), datetime(2026, 1, 7, tzinfo=UTC)
    async with support.database.transaction() as tx:
        call = replace(
            new_call(support.running.home, service_principal("support"), tx), imported=True
        )
        values = {
            "subject": "Old", "state": "CLOSED", "open_time": opened, "close_time": solved,
        }  # fmt: skip
        ticket = await TICKETS.insert(call, TICKETS.new(call, values))
    events = await support.events(f"tickets/{ticket.id}", count=3)
    assert [(e.routing_key, e.effective_time) for e in events] == [
        ("support.ticket.created", opened),
        ("support.ticket.resolved", solved),
        ("support.ticket.closed", solved),
    ]
    assert all(e.wire.imported for e in events)


async def test_an_imported_history_that_cannot_be_is_refused(support: ServiceUnderTest) -> None:
    """INVARIANT: a refused row changes nothing."""
    async with support.database.transaction() as tx:
        call = replace(
            new_call(support.running.home, service_principal("support"), tx), imported=True
        )
        ticket = TICKETS.new(call, {"subject": "Old", "state": "OPEN", "close_time": call.now})
        with pytest.raises(InvalidArgument):
            await TICKETS.insert(call, ticket)
        assert not await TICKETS.get_many(call, [ticket.id])
