"""Opportunities over gRPC: what a client may rely on."""

from typing import Any
from uuid import uuid4

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

from crm.sales.v1 import (
    opportunity_pb2,
    opportunity_pb2_grpc,
    pipeline_pb2,
    pipeline_pb2_grpc,
    product_pb2,
    product_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Opportunity = opportunity_pb2.Opportunity
MANUAL, LINES = Opportunity.AmountSource.MANUAL, Opportunity.AmountSource.LINES


def stub(sales: ServiceUnderTest) -> opportunity_pb2_grpc.OpportunityServiceStub:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def create(
    sales: ServiceUnderTest, person: Person, **fields: object
) -> opportunity_pb2.Opportunity:
    opportunity = Opportunity(**{"display_name": "Ten machines", **fields})  # type: ignore[arg-type]
    return await stub(sales).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(opportunity=opportunity), metadata=person.metadata
    )


async def update(
    sales: ServiceUnderTest, person: Person, opportunity: opportunity_pb2.Opportunity, *paths: str
) -> opportunity_pb2.Opportunity:
    return await stub(sales).UpdateOpportunity(
        opportunity_pb2.UpdateOpportunityRequest(
            opportunity=opportunity, update_mask=FieldMask(paths=paths)
        ),
        metadata=person.metadata,
    )


async def default_pipeline(sales: ServiceUnderTest, person: Person) -> pipeline_pb2.Pipeline:
    page = await pipeline_pb2_grpc.PipelineServiceStub(sales.channel).ListPipelines(
        pipeline_pb2.ListPipelinesRequest(filter="is_default = true"), metadata=person.metadata
    )
    return page.pipelines[0]


async def product(sales: ServiceUnderTest, person: Person, price: Money | None) -> str:
    created = await product_pb2_grpc.ProductServiceStub(sales.channel).CreateProduct(
        product_pb2.CreateProductRequest(
            product=product_pb2.Product(display_name=f"P {uuid4()}", unit_price=price)
        ),
        metadata=person.metadata,
    )
    return created.name


def euros(units: int, cents: int = 0) -> Money:
    return Money(currency_code="EUR", units=units, nanos=cents * 10_000_000)


# -- moving


async def test_an_opportunity_enters_moves_is_won_and_reopened(sales: ServiceUnderTest) -> None:
    """INVARIANT: each step is one version; its events say who owned it and where it came from."""
    ada = await sales.person("sales.*")
    pipeline = await default_pipeline(sales, ada)
    stages = {s.display_name: s.name for s in pipeline.stages}
    created = await create(sales, ada)
    assert (created.pipeline, created.stage) == (pipeline.name, stages["Prospecting"])
    assert (created.state, created.kind) == (Opportunity.OPEN, Opportunity.NEW)
    assert created.probability == 0.1
    assert created.open_time == created.create_time
    assert not created.HasField("amount")
    name = created.name
    moved = await stub(sales).MoveOpportunity(
        opportunity_pb2.MoveOpportunityRequest(name=name, stage=stages["Proposal"]),
        metadata=ada.metadata,
    )
    assert (moved.stage, moved.probability) == (stages["Proposal"], 0.5)
    won = await stub(sales).WinOpportunity(
        opportunity_pb2.WinOpportunityRequest(name=name, etag=moved.etag), metadata=ada.metadata
    )
    assert (won.state, won.stage, won.probability) == (Opportunity.WON, stages["Won"], 1.0)
    assert won.close_time == won.update_time
    reopened = await stub(sales).ReopenOpportunity(
        opportunity_pb2.ReopenOpportunityRequest(name=name), metadata=ada.metadata
    )
    assert (reopened.stage, reopened.probability) == (stages["Proposal"], 0.5)
    assert not reopened.HasField("close_time")

    events = await sales.events(name, count=6)
    assert [(e.subject_version, e.wire.event_index, e.routing_key) for e in events] == [
        (1, 0, "sales.opportunity.created"),
        (2, 0, "sales.opportunity.stage_changed"),
        (3, 0, "sales.opportunity.won"),
        (3, 1, "sales.opportunity.stage_changed"),
        (4, 0, "sales.opportunity.reopened"),
        (4, 1, "sales.opportunity.stage_changed"),
    ]
    assert events[3].message.from_stage == stages["Proposal"]
    assert all(e.owner == ada.id for e in events)


async def test_losing_keeps_the_reason(sales: ServiceUnderTest) -> None:
    """And the opportunity stands in the pipeline's lost stage."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    lost = await stub(sales).LoseOpportunity(
        opportunity_pb2.LoseOpportunityRequest(name=created.name, reason="price"),
        metadata=ada.metadata,
    )
    assert (lost.state, lost.lost_reason, lost.probability) == (Opportunity.LOST, "price", 0.0)
    events = await sales.events(created.name, count=3)
    assert events[1].routing_key == "sales.opportunity.lost"


async def test_winning_a_closed_opportunity_is_refused(sales: ServiceUnderTest) -> None:
    """INVARIANT: a wrong state is FAILED_PRECONDITION, with what is allowed in its metadata."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    request = opportunity_pb2.WinOpportunityRequest(name=created.name)
    await stub(sales).WinOpportunity(request, metadata=ada.metadata)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).WinOpportunity(request, metadata=ada.metadata)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    found = details_of(refused.value)
    assert found["reason"] == "ILLEGAL_TRANSITION"
    assert (found["metadata"]["state"], found["metadata"]["allowed_methods"]) == ("WON", "reopen")


async def test_moving_to_the_won_stage_names_the_method_to_use(sales: ServiceUnderTest) -> None:
    """INVARIANT: there is one way to win."""
    ada = await sales.person("sales.*")
    pipeline = await default_pipeline(sales, ada)
    won = next(s.name for s in pipeline.stages if s.display_name == "Won")
    created = await create(sales, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).MoveOpportunity(
            opportunity_pb2.MoveOpportunityRequest(name=created.name, stage=won),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    found = details_of(refused.value)
    assert (found["reason"], found["metadata"]["method"]) == ("USE_WIN_OR_LOSE", "WinOpportunity")


@pytest.mark.parametrize("stage", ["nonsense", f"pipelines/{uuid4()}/stages/{uuid4()}"])
async def test_moving_to_a_stage_of_no_or_another_pipeline_is_refused(
    sales: ServiceUnderTest, stage: str
) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).MoveOpportunity(
            opportunity_pb2.MoveOpportunityRequest(name=created.name, stage=stage),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["stage"]


async def test_a_stale_etag_is_refused(sales: ServiceUnderTest) -> None:
    """INVARIANT: custom methods check the etag like any change."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    await update(sales, ada, Opportunity(name=created.name, display_name="Eleven"), "display_name")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).WinOpportunity(
            opportunity_pb2.WinOpportunityRequest(name=created.name, etag=created.etag),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_a_person_wins_only_what_they_see(sales: ServiceUnderTest) -> None:
    """INVARIANT: a record out of scope is as if it were not there."""
    ada, bob = await sales.person("sales.*"), await sales.person(("sales.*", "OWN"))
    created = await create(sales, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(sales).WinOpportunity(
            opportunity_pb2.WinOpportunityRequest(name=created.name), metadata=bob.metadata
        )
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


# -- values


async def test_lines_take_the_list_price_and_make_the_amount(sales: ServiceUnderTest) -> None:
    """INVARIANT: what follows from lines is published as changed with them."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada, euros(10, 50))
    created = await create(
        sales, ada, lines=[{"product": listed, "quantity": "2"}, {"product": listed}]
    )
    assert [line.unit_price for line in created.lines] == [euros(10, 50)] * 2
    assert created.lines[1].quantity == "1"
    assert (created.amount, created.amount_source) == (euros(31, 50), LINES)
    changed = await update(
        sales,
        ada,
        Opportunity(name=created.name, lines=[{"product": listed, "unit_price": euros(9)}]),
        "lines",
    )
    assert (changed.amount, changed.amount_source) == (euros(9), LINES)
    events = await sales.events(created.name, count=2)
    assert list(events[1].message.changed_fields) == ["amount", "lines"]


async def test_a_manual_amount_is_kept_when_lines_change(sales: ServiceUnderTest) -> None:
    """INVARIANT: what a person set stays until a person clears it."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada, euros(10))
    created = await create(sales, ada, amount=euros(99), lines=[{"product": listed}])
    assert (created.amount, created.amount_source) == (euros(99), MANUAL)
    changed = await update(sales, ada, Opportunity(name=created.name), "lines")
    assert (changed.amount, changed.amount_source) == (euros(99), MANUAL)
    created.lines[0].quantity = "3"
    both = await update(
        sales, ada, Opportunity(name=created.name, lines=created.lines), "lines", "amount"
    )
    assert (both.amount, both.amount_source) == (euros(30), LINES)


async def test_a_record_sent_back_as_read_stays_as_it_is(sales: ServiceUnderTest) -> None:
    """INVARIANT: reading and writing back makes nothing manual."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada, euros(10))
    created = await create(sales, ada, lines=[{"product": listed}])
    again = await update(sales, ada, created)
    assert (again.amount_source, again.probability_source) == (
        created.amount_source,
        created.probability_source,
    )


async def test_a_manual_probability_outlives_moves_and_reopening(sales: ServiceUnderTest) -> None:
    """INVARIANT: a stage never overwrites it."""
    ada = await sales.person("sales.*")
    pipeline = await default_pipeline(sales, ada)
    created = await create(sales, ada, probability=0.66)
    moved = await stub(sales).MoveOpportunity(
        opportunity_pb2.MoveOpportunityRequest(name=created.name, stage=pipeline.stages[3].name),
        metadata=ada.metadata,
    )
    assert moved.probability == 0.66
    won = await stub(sales).WinOpportunity(
        opportunity_pb2.WinOpportunityRequest(name=created.name), metadata=ada.metadata
    )
    assert won.probability == 1.0
    reopened = await stub(sales).ReopenOpportunity(
        opportunity_pb2.ReopenOpportunityRequest(name=created.name), metadata=ada.metadata
    )
    assert (reopened.probability, reopened.probability_source) == (
        0.66,
        Opportunity.ProbabilitySource.MANUAL,
    )


async def test_the_next_step_is_not_published(sales: ServiceUnderTest) -> None:
    """INVARIANT: events never hold personal data."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada, next_step="Call Jane")
    (event,) = await sales.events(created.name)
    assert b"Jane" not in event.wire.payload


BAD: list[tuple[dict[str, Any], str, grpc.StatusCode]] = [
    ({"account": f"accounts/{uuid4()}"}, "opportunity.account", grpc.StatusCode.UNAVAILABLE),
    ({"pipeline": f"pipelines/{uuid4()}"}, "opportunity.pipeline", grpc.StatusCode.NOT_FOUND),
    (
        {"lines": [{"product": f"products/{uuid4()}"}]},
        "opportunity.lines[0].product",
        grpc.StatusCode.NOT_FOUND,
    ),
    ({"lines": [{}]}, "opportunity.lines[0].product", grpc.StatusCode.INVALID_ARGUMENT),
    ({"probability": 1.5}, "opportunity.probability", grpc.StatusCode.INVALID_ARGUMENT),
    ({"amount": euros(-1)}, "opportunity.amount", grpc.StatusCode.INVALID_ARGUMENT),
    (
        {"amount": Money(currency_code="EUR", nanos=1)},
        "opportunity.amount",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
    (
        {"amount": Money(currency_code="DOUBLOONS", units=1)},
        "opportunity.amount.currency_code",
        grpc.StatusCode.INVALID_ARGUMENT,
    ),
]


@pytest.mark.parametrize(("fields", "path", "code"), BAD)
async def test_bad_input_names_the_field(
    sales: ServiceUnderTest, fields: dict[str, Any], path: str, code: grpc.StatusCode
) -> None:
    """Bad input gets a clear error; nobody answers for accounts in this test."""
    ada = await sales.person("sales.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, **fields)
    assert refused.value.code() == code
    if code != grpc.StatusCode.UNAVAILABLE:
        assert details_of(refused.value)["fields"] == [path]


@pytest.mark.parametrize(
    ("quantity", "field"), [("0", "quantity"), ("1.00001", "quantity"), ("many", "quantity")]
)
async def test_a_quantity_that_is_none_is_refused(
    sales: ServiceUnderTest, quantity: str, field: str
) -> None:
    """More decimals than are stored are refused, not rounded away."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada, None)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, lines=[{"product": listed, "quantity": quantity}])
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"][0].endswith(field)


async def test_lines_in_two_currencies_are_refused(sales: ServiceUnderTest) -> None:
    """Also where one of them comes from the list."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada, Money(currency_code="USD", units=5))
    lines = [{"product": listed}, {"product": listed, "unit_price": euros(5)}]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, lines=lines)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"][0].endswith("unit_price.currency_code")


async def test_a_known_account_is_accepted(sales: ServiceUnderTest) -> None:
    """What customer has published is enough; customer itself may be down."""
    ada = await sales.person("sales.*", "customer.*")
    account = await sales.know("accounts")
    created = await create(sales, ada, account=f"accounts/{account}")
    assert created.account == f"accounts/{account}"


async def test_a_record_out_of_scope_cannot_be_referred_to(sales: ServiceUnderTest) -> None:
    """INVARIANT: what one may not see is not there; else references would tell that it is."""
    bob = await sales.person("sales.*", ("customer.*", "OWN"))
    of_bob = await sales.know("accounts", owner=bob.id)
    created = await create(sales, bob, account=f"accounts/{of_bob}")
    assert created.account == f"accounts/{of_bob}"
    for person in (
        await sales.person("sales.*", ("customer.*", "OWN")),
        await sales.person("sales.*"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await create(sales, person, account=f"accounts/{of_bob}")
        assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        assert details_of(refused.value)["fields"] == ["opportunity.account"]


async def test_a_reason_for_losing_comes_from_its_pick_list(sales: ServiceUnderTest) -> None:
    """INVARIANT: a closed list takes nothing new; what a record has it keeps, retired or not."""
    ada = await sales.person("sales.*")
    await sales.pick_list("lost_reason", "price", retired="timing")
    one = await create(sales, ada)
    lose = stub(sales).LoseOpportunity
    for reason, failure in {"weather": "UNKNOWN_ENTRY", "timing": "RETIRED_ENTRY"}.items():
        request = opportunity_pb2.LoseOpportunityRequest(name=one.name, reason=reason)
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await lose(request, metadata=ada.metadata)
        details = details_of(refused.value)
        assert (details["reason"], details["fields"]) == (failure, ["reason"])
    request = opportunity_pb2.LoseOpportunityRequest(name=one.name, reason="price")
    await lose(request, metadata=ada.metadata)
    await sales.settings()
    await sales.pick_list("lost_reason", "competitor", retired="price")
    update = opportunity_pb2.UpdateOpportunityRequest(
        opportunity=Opportunity(name=one.name, next_step="Call next year")
    )
    kept = await stub(sales).UpdateOpportunity(update, metadata=ada.metadata)
    assert kept.lost_reason == "price"
    await sales.settings()
