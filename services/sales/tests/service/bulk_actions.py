"""Bulk actions started and followed to their end, for the tests of bulk actions."""

import asyncio
from collections.abc import Iterable
from typing import Any
from uuid import uuid4

from google.protobuf.json_format import ParseDict

from crm.common.v1 import bulk_action_pb2 as pb
from crm.sales.v1 import (
    bulk_action_pb2_grpc,
    opportunity_pb2,
    opportunity_pb2_grpc,
    product_pb2,
    product_pb2_grpc,
)
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

BulkAction, Product, Opportunity = pb.BulkAction, product_pb2.Product, opportunity_pb2.Opportunity
State = BulkAction.State


def bulk(sales: ServiceUnderTest) -> bulk_action_pb2_grpc.BulkActionServiceStub:
    return bulk_action_pb2_grpc.BulkActionServiceStub(sales.channel)


def products(sales: ServiceUnderTest) -> product_pb2_grpc.ProductServiceStub:
    return product_pb2_grpc.ProductServiceStub(sales.channel)


def opportunities(sales: ServiceUnderTest) -> opportunity_pb2_grpc.OpportunityServiceStub:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def product(sales: ServiceUnderTest, person: Person, **fields: Any) -> Product:
    message = ParseDict({"display_name": f"P {uuid4()}", **fields}, Product())
    request = product_pb2.CreateProductRequest(product=message)
    return await products(sales).CreateProduct(request, metadata=person.metadata)


async def some_products(
    sales: ServiceUnderTest, person: Person, count: int, **fields: Any
) -> tuple[list[Product], str]:
    """Products, in the order of their ids, with a category of their own; and the filter for them."""
    category = f"c{uuid4().hex}"
    at_once = asyncio.Semaphore(50)

    async def one() -> Product:
        async with at_once:
            return await product(sales, person, category=category, **fields)

    made = await asyncio.gather(*[one() for _ in range(count)])
    return sorted(made, key=lambda p: p.name), f'category = "{category}"'


async def opportunity(sales: ServiceUnderTest, person: Person, **fields: Any) -> Opportunity:
    message = ParseDict({"display_name": f"O {uuid4()}", **fields}, Opportunity())
    request = opportunity_pb2.CreateOpportunityRequest(opportunity=message)
    return await opportunities(sales).CreateOpportunity(request, metadata=person.metadata)


async def now(sales: ServiceUnderTest, person: Person, records: Iterable[Product]) -> list[Product]:
    request = product_pb2.BatchGetProductsRequest(names=[r.name for r in records])
    answer = await products(sales).BatchGetProducts(request, metadata=person.metadata)
    return list(answer.products)


async def started(
    sales: ServiceUnderTest, person: Person, *, validate_only: bool = False, **wanted: Any
) -> BulkAction:
    action = ParseDict({"resource": "products", "action": "UPDATE", **wanted}, BulkAction())
    request = pb.CreateBulkActionRequest(bulk_action=action, validate_only=validate_only)
    return await bulk(sales).CreateBulkAction(request, metadata=person.metadata)


async def ended(sales: ServiceUnderTest, person: Person, run: BulkAction) -> BulkAction:
    async def look() -> BulkAction | None:
        request = pb.GetBulkActionRequest(name=run.name)
        found = await bulk(sales).GetBulkAction(request, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    found = await eventually(look)
    assert found is not None
    return found


async def done(sales: ServiceUnderTest, person: Person, **wanted: Any) -> BulkAction:
    run = await ended(sales, person, await started(sales, person, **wanted))
    assert run.state == State.SUCCEEDED, run.error_message
    return run


async def reverted(sales: ServiceUnderTest, person: Person, run: BulkAction) -> BulkAction:
    request = pb.RevertBulkActionRequest(name=run.name)
    revert = await bulk(sales).RevertBulkAction(request, metadata=person.metadata)
    assert revert.reverts == run.name
    return await ended(sales, person, revert)


async def issues(
    sales: ServiceUnderTest, person: Person, run: BulkAction
) -> list[tuple[str, str, str]]:
    """Record, field and reason of every issue, over pages of two."""
    found, token = [], ""
    while True:
        request = pb.ListBulkActionIssuesRequest(parent=run.name, page_size=2, page_token=token)
        page = await bulk(sales).ListBulkActionIssues(request, metadata=person.metadata)
        found += [(i.record, i.field, i.reason) for i in page.issues]
        token = page.next_page_token
        if not token:
            return found


def counts(run: BulkAction) -> tuple[int, int, int, int]:
    assert run.processed_rows == run.changed_count + run.unchanged_count + run.failed_count
    return run.total_rows, run.changed_count, run.unchanged_count, run.failed_count
