"""Products over gRPC: unique names and numbers, defaults."""

from uuid import uuid4

import grpc
import pytest
from google.type.money_pb2 import Money

from crm.sales.v1 import product_pb2, product_pb2_grpc
from crm.sales.v1.opportunity_pb2 import CreateOpportunityRequest, Opportunity
from crm.sales.v1.opportunity_pb2_grpc import OpportunityServiceStub
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Product = product_pb2.Product


def stub(sales: ServiceUnderTest) -> product_pb2_grpc.ProductServiceStub:
    return product_pb2_grpc.ProductServiceStub(sales.channel)


async def create(sales: ServiceUnderTest, person: Person, **fields: object) -> product_pb2.Product:
    product = Product(**{"display_name": f"P {uuid4()}", **fields})  # type: ignore[arg-type]
    return await stub(sales).CreateProduct(
        product_pb2.CreateProductRequest(product=product), metadata=person.metadata
    )


async def test_a_product_is_active_and_a_good_unless_said_otherwise(
    sales: ServiceUnderTest,
) -> None:
    """Its list price comes back exactly."""
    ada = await sales.person("sales.*")
    price = Money(currency_code="EUR", units=4821, nanos=990_000_000)
    product = await create(sales, ada, unit_price=price)
    assert (product.active, product.kind, product.unit_price) == (True, Product.GOOD, price)
    retired = await create(sales, ada, active=False)
    assert (retired.HasField("active"), retired.active) == (True, False)


async def test_a_list_price_may_be_finer_than_a_cent_but_not_without_end(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: unit prices keep six decimals exactly; a seventh is refused, not rounded."""
    ada = await sales.person("sales.*")
    fine = Money(currency_code="EUR", nanos=1_234_000)
    product = await create(sales, ada, unit_price=fine)
    assert product.unit_price == fine
    opportunity = await OpportunityServiceStub(sales.channel).CreateOpportunity(
        CreateOpportunityRequest(
            opportunity=Opportunity(
                display_name="Sheets",
                lines=[Opportunity.Line(product=product.name, quantity="100000")],
            )
        ),
        metadata=ada.metadata,
    )
    assert opportunity.lines[0].unit_price == fine
    assert opportunity.amount == Money(currency_code="EUR", units=123, nanos=400_000_000)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, unit_price=Money(currency_code="EUR", nanos=1_234_567))
    assert details_of(refused.value)["fields"] == ["product.unit_price"]


@pytest.mark.parametrize("field", ["display_name", "sku"])
async def test_a_taken_name_or_number_is_refused_and_named(
    sales: ServiceUnderTest, field: str
) -> None:
    """INVARIANT: names and stock-keeping units are unique among the products that are there."""
    ada = await sales.person("sales.*")
    first = await create(sales, ada, **{field: f"taken {field}"})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, **{field: f"taken {field}"})
    assert refused.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert details_of(refused.value)["fields"] == [f"product.{field}"]
    await stub(sales).DeleteProduct(
        product_pb2.DeleteProductRequest(name=first.name), metadata=ada.metadata
    )
    await create(sales, ada, **{field: f"taken {field}"})


async def test_a_negative_list_price_is_refused(sales: ServiceUnderTest) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(sales, ada, unit_price=Money(currency_code="EUR", units=-1))
    assert details_of(refused.value)["fields"] == ["product.unit_price"]
