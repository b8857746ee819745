"""Opportunities that an import brings with their history."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4
from zoneinfo import ZoneInfo

import pytest
from google.type.money_pb2 import Money

from crm.sales.v1 import opportunity_pb2, opportunity_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit import money
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.errors import InvalidArgument
from crmkit.names import parse_name
from crmkit.testing.harness import Person, ServiceUnderTest
from sales.domain.line import Line
from sales.domain.opportunity import Opportunity as Entity
from sales.storage.opportunity import OPPORTUNITIES

Opportunity = opportunity_pb2.Opportunity


async def product(sales: ServiceUnderTest, person: Person) -> UUID:
    """A product with a list price of 550 euros."""
    price = Money(currency_code="EUR", units=550)
    created = await product_pb2_grpc.ProductServiceStub(sales.channel).CreateProduct(
        product_pb2.CreateProductRequest(
            product=product_pb2.Product(display_name=f"P {uuid4()}", unit_price=price)
        ),
        metadata=person.metadata,
    )
    return parse_name(created.name, collection="products", field="product")


async def import_one(sales: ServiceUnderTest, **values: Any) -> Entity:
    async with sales.database.transaction() as tx:
        call = replace(new_call(sales.running.home, service_principal("sales"), tx), imported=True)
        return await OPPORTUNITIES.insert(
            call, OPPORTUNITIES.new(call, {"display_name": "Old", **values})
        )


async def test_an_imported_won_deal_brings_its_history_and_its_value(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: events carry the times of the business; a manual amount stands beside the line."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada)
    opened, closed = datetime(2016, 10, 20, tzinfo=UTC), datetime(2017, 3, 1, tzinfo=UTC)
    entity = await import_one(
        sales,
        stage="WON",
        open_time=opened,
        close_time=closed,
        amount=money.Money(Decimal(1054), "EUR"),
        lines=[Line(product=listed)],
    )
    read = await opportunity_pb2_grpc.OpportunityServiceStub(sales.channel).GetOpportunity(
        opportunity_pb2.GetOpportunityRequest(name=f"opportunities/{entity.id}"),
        metadata=ada.metadata,
    )
    assert (read.state, read.amount_source) == (Opportunity.WON, Opportunity.AmountSource.MANUAL)
    assert read.amount == Money(currency_code="EUR", units=1054)
    assert [line.product for line in read.lines] == [f"products/{listed}"]
    assert read.stage.startswith(read.pipeline)
    events = await sales.events(read.name, count=2)
    assert [(e.routing_key, e.effective_time) for e in events] == [
        ("sales.opportunity.created", opened),
        ("sales.opportunity.won", closed),
    ]
    assert all(e.wire.imported for e in events)
    assert events[1].message.opportunity.lines[0].product == f"products/{listed}"


async def test_an_imported_open_deal_without_value_and_date_has_neither(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: an absent amount is neither 0 nor the list price."""
    ada = await sales.person("sales.*")
    listed = await product(sales, ada)
    entity = await import_one(sales, stage="Prospecting", lines=[Line(product=listed)])
    assert (entity.amount, entity.open_time, entity.state) == (None, None, "OPEN")
    assert entity.probability == 0.1


async def test_an_imported_stage_that_is_not_there_is_refused(sales: ServiceUnderTest) -> None:
    """The stages that there are, are named."""
    with pytest.raises(InvalidArgument, match="Prospecting") as refused:
        await import_one(sales, stage="Daydreaming")
    assert refused.value.violations[0].field == "opportunity.stage"


async def test_a_bare_date_begins_at_midnight_of_the_organisation(sales: ServiceUnderTest) -> None:
    """INVARIANT: one meaning for a date in filters, in whatever zone the organisation is."""
    ada = await sales.person("sales.*")
    half_past_midnight = datetime(2017, 3, 1, 0, 30, tzinfo=ZoneInfo("Asia/Shanghai"))
    opened = await import_one(sales, open_time=half_past_midnight)
    request = opportunity_pb2.ListOpportunitiesRequest(
        filter=f'name = "opportunities/{opened.id}" AND open_time >= "2017-03-01"'
    )
    stub: Any = opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)
    for zone, found in {"UTC": 0, "Asia/Shanghai": 1, "America/New_York": 0}.items():
        await sales.settings(time_zone=zone)
        page = await stub.ListOpportunities(request, metadata=ada.metadata)
        assert len(page.opportunities) == found
    await sales.settings()
