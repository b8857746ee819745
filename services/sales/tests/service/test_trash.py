"""The trash over gRPC: what lies in it, and what becomes of it."""

from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1.feed_pb2 import FeedEvent
from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.customer.v1 import account_pb2
from crm.sales.v1 import opportunity_pb2, opportunity_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit import clock, known_records, trash
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.feed.events import Event
from crmkit.ids import uuid7
from crmkit.schema import KNOWN_RECORD
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from sales.storage.product import PRODUCTS, products

Product = product_pb2.Product


def stub(sales: ServiceUnderTest) -> product_pb2_grpc.ProductServiceStub:
    return product_pb2_grpc.ProductServiceStub(sales.channel)


async def create(sales: ServiceUnderTest, person: Person, category: str = "") -> Product:
    product = Product(display_name=f"P {uuid4()}", category=category)
    request = product_pb2.CreateProductRequest(product=product)
    return await stub(sales).CreateProduct(request, metadata=person.metadata)


async def delete(sales: ServiceUnderTest, person: Person, product: Product) -> Product:
    request = product_pb2.DeleteProductRequest(name=product.name)
    return await stub(sales).DeleteProduct(request, metadata=person.metadata)


async def purge(sales: ServiceUnderTest, person: Person, name: str, **fields: str) -> None:
    request = product_pb2.PurgeProductRequest(name=name, **fields)
    await stub(sales).PurgeProduct(request, metadata=person.metadata)


async def lies_in_trash_for(sales: ServiceUnderTest, product: Product, days: int) -> None:
    query = (
        sa.update(products)
        .where(products.c.id == UUID(product.uid))
        .values(delete_time=clock.now() - timedelta(days=days))
    )
    await sales.database.execute(compile_statement(query))


async def is_there(sales: ServiceUnderTest, person: Person, product: Product) -> bool:
    request = product_pb2.ListProductsRequest(filter=f'name = "{product.name}"', show_deleted=True)
    return bool((await stub(sales).ListProducts(request, metadata=person.metadata)).products)


async def sell(sales: ServiceUnderTest, person: Person, product: Product) -> Any:
    line = opportunity_pb2.Opportunity.Line(product=product.name, quantity="1")
    opportunity = opportunity_pb2.Opportunity(display_name="One", lines=[line])
    return await opportunity_pb2_grpc.OpportunityServiceStub(sales.channel).CreateOpportunity(
        opportunity_pb2.CreateOpportunityRequest(opportunity=opportunity),
        metadata=person.metadata,
    )


async def test_the_trash_is_a_list_newest_deletion_first(sales: ServiceUnderTest) -> None:
    """A filter and an order of the standard list; in pages as any other."""
    ada, mark = await sales.person("sales.*"), str(uuid4())
    first, second, third, _kept = [await create(sales, ada, mark) for _ in range(4)]
    for product in (second, first, third):
        await delete(sales, ada, product)
    request = product_pb2.ListProductsRequest(
        filter=f'category = "{mark}" AND delete_time:*',
        order_by="delete_time desc",
        show_deleted=True,
        page_size=2,
    )
    page = await stub(sales).ListProducts(request, metadata=ada.metadata)
    assert [p.name for p in page.products] == [third.name, first.name]
    request.page_token = page.next_page_token
    page = await stub(sales).ListProducts(request, metadata=ada.metadata)
    assert [p.name for p in page.products] == [second.name]
    assert not page.next_page_token


async def test_purging_removes_a_deleted_record_and_its_history(sales: ServiceUnderTest) -> None:
    """INVARIANT: afterwards there is nothing left but the event that says so."""
    ada = await sales.person("sales.*", "sales.products.purge")
    product = await create(sales, ada)
    await delete(sales, ada, product)
    request_id = str(uuid4())
    await purge(sales, ada, product.name, request_id=request_id)
    await purge(sales, ada, product.name, request_id=request_id)  # a repeat answers the same
    assert not await is_there(sales, ada, product)
    history = ListRevisionsRequest(parent=product.name)
    with pytest.raises(grpc.aio.AioRpcError) as absent:
        await stub(sales).ListRevisions(history, metadata=ada.metadata)
    assert absent.value.code() == grpc.StatusCode.NOT_FOUND
    *_, event = await sales.events(product.name, count=3)
    assert (event.routing_key, event.subject_version) == ("sales.product.purged", 3)
    rows = await sales.database.fetch_all(
        compile_statement(sa.text("SELECT 1 FROM revision WHERE record = :id")),
        {"id": UUID(product.uid)},
    )
    assert rows == []


async def test_only_who_holds_the_permission_itself_may_purge(sales: ServiceUnderTest) -> None:
    """INVARIANT: a wildcard of the service is not enough for what cannot be undone."""
    ada, root = await sales.person("sales.*"), await sales.person("*")
    product = await delete(sales, ada, await create(sales, ada))
    with pytest.raises(grpc.aio.AioRpcError) as forbidden:
        await purge(sales, ada, product.name)
    assert forbidden.value.code() == grpc.StatusCode.PERMISSION_DENIED
    await purge(sales, root, product.name)


async def test_what_is_not_in_the_trash_cannot_be_purged(sales: ServiceUnderTest) -> None:
    """Nor what is not there, nor what has changed meanwhile."""
    root = await sales.person("*")
    product = await create(sales, root)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await purge(sales, root, product.name)
    assert details_of(refused.value)["reason"] == "NOT_DELETED"
    await delete(sales, root, product)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await purge(sales, root, product.name, etag=product.etag)
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await purge(sales, root, f"products/{uuid4()}")
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND


async def test_what_others_refer_to_stays(sales: ServiceUnderTest) -> None:
    """INVARIANT: no record of the service refers to nothing; the referrer is named."""
    root = await sales.person("*")
    product = await create(sales, root)
    opportunity = await sell(sales, root, product)
    await delete(sales, root, product)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await purge(sales, root, product.name)
    details = details_of(refused.value)
    assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
    assert details["reason"] == "STILL_REFERENCED"
    assert details["metadata"]["referrer"] == opportunity.name
    assert details["metadata"]["field"] == "lines.product"
    assert await is_there(sales, root, product)


async def test_the_trash_empties_itself(sales: ServiceUnderTest) -> None:
    """INVARIANT: what has lain there long enough goes, unless something refers to it; all else stays."""
    root = await sales.person("*")
    old, young, used, kept = [await create(sales, root) for _ in range(4)]
    await sell(sales, root, used)
    for product, days in ((old, 31), (young, 29), (used, 31)):
        await delete(sales, root, product)
        await lies_in_trash_for(sales, product, days)
    before = clock.now() - timedelta(days=30)
    assert await trash.purge_expired(sales.running.home, [PRODUCTS], before) == {"products": 1}
    there = [await is_there(sales, root, p) for p in (old, young, used, kept)]
    assert there == [False, True, True, True]
    *_, event = await sales.events(old.name, count=3)
    assert (event.routing_key, event.actor) == ("sales.product.purged", "services/sales")


async def test_other_services_forget_what_is_purged(sales: ServiceUnderTest) -> None:
    """INVARIANT: a reference to a purged record is refused as one to a record that never was."""
    id_, home = uuid7(), sales.running.home
    account = account_pb2.Account(name=f"accounts/{id_}")
    account.delete_time.FromDatetime(clock.now())
    handler = known_records.handlers(["accounts"])["customer.account.*"]
    known = compile_statement(
        sa.select(KNOWN_RECORD.c.deleted).where(KNOWN_RECORD.c.id == sa.bindparam("id"))
    )
    for message, rows in (
        (account_pb2.AccountDeleted(account=account), [(True,)]),
        (account_pb2.AccountPurged(account=account), []),
    ):
        past = type(message).__name__.removeprefix("Account").lower()
        wire = FeedEvent(
            routing_key=f"customer.account.{past}",
            type=message.DESCRIPTOR.full_name,
            payload=message.SerializeToString(),
        )
        async with sales.database.transaction() as tx:
            await handler(Event(wire), new_call(home, service_principal("sales"), tx))
        assert await sales.database.fetch_all(known, {"id": id_}) == rows
