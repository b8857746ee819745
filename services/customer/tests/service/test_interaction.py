"""Interactions over gRPC: what a client may rely on."""

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import contact_pb2, contact_pb2_grpc, interaction_pb2, interaction_pb2_grpc
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Interaction = interaction_pb2.Interaction


def stub(customer: ServiceUnderTest) -> interaction_pb2_grpc.InteractionServiceStub:
    return interaction_pb2_grpc.InteractionServiceStub(customer.channel)


async def record(customer: ServiceUnderTest, person: Person, **fields: Any) -> Interaction:
    request = interaction_pb2.CreateInteractionRequest(interaction=Interaction(**fields))
    return await stub(customer).CreateInteraction(request, metadata=person.metadata)


async def record_many(
    customer: ServiceUnderTest, person: Person, *records: Interaction, **fields: Any
) -> list[Interaction]:
    requests = [interaction_pb2.CreateInteractionRequest(interaction=r) for r in records]
    answer = await stub(customer).BatchCreateInteractions(
        interaction_pb2.BatchCreateInteractionsRequest(requests=requests, **fields),
        metadata=person.metadata,
    )
    return list(answer.interactions)


async def correct(
    customer: ServiceUnderTest, person: Person, name: str, *paths: str, **fields: Any
) -> Interaction:
    request = interaction_pb2.CorrectInteractionRequest(
        interaction=Interaction(name=name, **fields), update_mask=FieldMask(paths=paths)
    )
    return await stub(customer).CorrectInteraction(request, metadata=person.metadata)


async def named(customer: ServiceUnderTest, person: Person, filter: str) -> list[str]:  # noqa: A002
    request = interaction_pb2.ListInteractionsRequest(filter=filter, order_by="occur_time desc")
    answer = await stub(customer).ListInteractions(request, metadata=person.metadata)
    return [found.name for found in answer.interactions]


async def contact(customer: ServiceUnderTest, person: Person) -> str:
    request = contact_pb2.CreateContactRequest(contact=contact_pb2.Contact(display_name="Jo"))
    stub = contact_pb2_grpc.ContactServiceStub(customer.channel)
    return (await stub.CreateContact(request, metadata=person.metadata)).name


async def refusal(attempt: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await attempt
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]


async def test_what_happened_is_recorded_and_told_without_what_was_said(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: subject, body and addresses are in no event; who took part and when are."""
    ada = await customer.person("customer.*")
    jo = await contact(customer, ada)
    happened = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
    made = await record(
        customer, ada, kind=Interaction.EMAIL, direction=Interaction.INBOUND, subject="SECRET-s",
        body="SECRET-b", participants=[jo, ada.name], participant_addresses=["SECRET-a@b.c"],
        related=[jo], occur_time=happened, message_id=f"<{uuid4()}@example>", duration_minutes=5,
    )  # fmt: skip
    assert (made.owner, made.occur_time.ToDatetime(UTC)) == (ada.name, happened)
    created, recorded = await customer.events(made.name, count=2)
    assert (created.routing_key, recorded.routing_key) == (
        "customer.interaction.created", "customer.interaction.recorded",
    )  # fmt: skip
    assert recorded.effective_time == happened
    assert list(recorded.message.interaction.participants) == [jo, ada.name]
    assert b"SECRET" not in created.wire.payload + recorded.wire.payload


async def test_a_correction_is_a_revision_that_keeps_the_old_text(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: what was written before is in the history, and the event says what was corrected."""
    ada = await customer.person("customer.*")
    made = await record(customer, ada, kind=Interaction.CALL, body="They want 10")
    corrected = await correct(customer, ada, made.name, "body", body="They want 100")
    assert (corrected.body, corrected.etag, corrected.kind) == (
        "They want 100", '"2"', Interaction.CALL,
    )  # fmt: skip
    history = await stub(customer).ListRevisions(
        ListRevisionsRequest(parent=made.name), metadata=ada.metadata
    )
    (change,) = history.revisions[0].changes
    assert (history.revisions[0].kind, change.old_value.string_value) == (
        "corrected", "They want 10",
    )  # fmt: skip
    event = (await customer.events(made.name, count=3))[2]
    assert event.routing_key == "customer.interaction.corrected"
    assert list(event.message.changed_fields) == ["body"]
    assert (await correct(customer, ada, made.name, body="They want 100")).etag == '"2"'
    assert (await refusal(correct(customer, ada, made.name, etag='"1"', body="x")))[:2] == (
        grpc.StatusCode.ABORTED, "ETAG_MISMATCH",
    )  # fmt: skip


async def test_nothing_but_a_correction_changes_what_happened(customer: ServiceUnderTest) -> None:
    """There is no update and no delete; a message stays the message that it is."""
    ada = await customer.person("*")
    methods = {
        m.name for m in interaction_pb2.DESCRIPTOR.services_by_name["InteractionService"].methods
    }
    assert methods == {
        "GetInteraction", "ListInteractions", "CreateInteraction", "BatchCreateInteractions",
        "CorrectInteraction", "BatchGetInteractions", "ListRevisions",
    }  # fmt: skip
    made = await record(customer, ada, message_id=f"<{uuid4()}>")
    assert await refusal(correct(customer, ada, made.name, message_id="<other>")) == (
        grpc.StatusCode.INVALID_ARGUMENT, "IMMUTABLE_FIELD", ["interaction.message_id"],
    )  # fmt: skip
    reader = await customer.person("customer.interactions.get")
    assert (await refusal(correct(customer, reader, made.name, body="x")))[0] == (
        grpc.StatusCode.PERMISSION_DENIED
    )


async def test_a_message_is_recorded_once(customer: ServiceUnderTest) -> None:
    """INVARIANT: also when two mailboxes bring it at the same moment."""
    ada = await customer.person("customer.*")
    message = f"<{uuid4()}@example>"
    attempts = [record(customer, ada, message_id=message) for _ in range(4)]
    outcomes = await asyncio.gather(*attempts, return_exceptions=True)
    assert len([o for o in outcomes if isinstance(o, Interaction)]) == 1
    refused = next(o for o in outcomes if isinstance(o, grpc.aio.AioRpcError))
    assert refused.code() == grpc.StatusCode.ALREADY_EXISTS
    assert details_of(refused)["fields"] == ["interaction.message_id"]


async def test_interactions_are_found_by_record_and_by_participant(
    customer: ServiceUnderTest,
) -> None:
    """Newest first, by when it happened; each filter has an index."""
    ada = await customer.person("*")
    jo, ticket = await contact(customer, ada), f"tickets/{await customer.know('tickets')}"
    long_ago = datetime(2020, 1, 1, tzinfo=UTC)
    late = await record(customer, ada, related=[ticket], participants=[jo])
    early = await record(customer, ada, related=[ticket, jo], occur_time=long_ago)
    assert await named(customer, ada, f'related:"{ticket}"') == [late.name, early.name]
    assert await named(customer, ada, f'participants:"{jo}"') == [late.name]
    assert await named(customer, ada, f'related:"{jo}" AND occur_time < "2021-01-01"') == [
        early.name
    ]
    for column in ("related", "participants"):
        query = f"SELECT id FROM interactions WHERE {column} @> ARRAY['{jo}']"
        async with customer.database.transaction() as tx:
            await tx.execute(compile_statement(sa.text("SET LOCAL enable_seqscan = off")))
            plan = await tx.fetch_all(compile_statement(sa.text(f"EXPLAIN {query}")))
        assert f"ix_interactions_{column}" in str(plan)


async def test_a_colleagues_interaction_is_out_of_reach(customer: ServiceUnderTest) -> None:
    """INVARIANT: record scope holds for reading, lists and corrections."""
    ada = await customer.person(("customer.interactions.*", "OWN"))
    bob = await customer.person(("customer.interactions.*", "OWN"))
    made = await record(customer, ada, body="mine")
    assert await named(customer, bob, f'name = "{made.name}"') == []
    assert (await refusal(correct(customer, bob, made.name, body="x")))[0] == (
        grpc.StatusCode.NOT_FOUND
    )


# -- many at once


async def test_a_batch_is_recorded_wholly_in_the_order_of_the_requests(
    customer: ServiceUnderTest,
) -> None:
    ada = await customer.person("customer.*")
    subjects = [f"S{number}" for number in range(50)]
    made = await record_many(customer, ada, *[Interaction(subject=s) for s in subjects])
    assert [m.subject for m in made] == subjects
    keys = [e.routing_key for e in await customer.events(made[49].name, count=2)]
    assert keys == ["customer.interaction.created", "customer.interaction.recorded"]


async def test_a_batch_with_one_mistake_records_nothing(customer: ServiceUnderTest) -> None:
    """INVARIANT: all or none, and the failure says which one."""
    ada = await customer.person("customer.*")
    mark, message = f"M {uuid4()}", f"<{uuid4()}>"
    good = Interaction(subject=mark, message_id=message)
    known = await record(customer, ada, message_id=f"<{uuid4()}>")
    future = Interaction(subject=mark)
    future.occur_time.FromDatetime(datetime.now(UTC) + timedelta(days=1))
    cases = [
        (future, ["requests[1].interaction.occur_time"]),
        (Interaction(related=[f"accounts/{uuid4()}"]), ["requests[1].interaction.related"]),
        (Interaction(related=["x"]), ["requests[1].interaction.related"]),
        (Interaction(message_id=message), ["requests[1].interaction.message_id"]),
        (Interaction(message_id=known.message_id), ["requests[1].interaction.message_id"]),
    ]
    for bad, fields in cases:
        assert (await refusal(record_many(customer, ada, good, bad)))[2] == fields
    assert await named(customer, ada, f'subject = "{mark}"') == []


async def test_a_repeated_batch_answers_the_first(customer: ServiceUnderTest) -> None:
    """INVARIANT: nothing is recorded twice."""
    ada = await customer.person("customer.*")
    mark, request_id = f"M {uuid4()}", str(uuid4())
    answers = [
        await record_many(customer, ada, Interaction(subject=mark), request_id=request_id)
        for _ in range(2)
    ]
    assert answers[0] == answers[1]
    assert len(await named(customer, ada, f'subject = "{mark}"')) == 1
