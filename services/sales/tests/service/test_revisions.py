"""The history of records over gRPC, shown with opportunities and products."""

from typing import Any

import grpc
import pytest
from google.protobuf.field_mask_pb2 import FieldMask
from google.protobuf.json_format import MessageToDict
from google.type.money_pb2 import Money

from crm.common.v1.revision_pb2 import ListRevisionsRequest, Revision
from crm.sales.v1 import opportunity_pb2, opportunity_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Opportunity = opportunity_pb2.Opportunity


def stub(sales: ServiceUnderTest) -> opportunity_pb2_grpc.OpportunityServiceStub:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def create(sales: ServiceUnderTest, person: Person, **fields: Any) -> Opportunity:
    request = opportunity_pb2.CreateOpportunityRequest(
        opportunity=Opportunity(display_name="Ten machines", **fields)
    )
    return await stub(sales).CreateOpportunity(request, metadata=person.metadata)


async def update(sales: ServiceUnderTest, person: Person, **fields: Any) -> Opportunity:
    request = opportunity_pb2.UpdateOpportunityRequest(opportunity=Opportunity(**fields))
    return await stub(sales).UpdateOpportunity(request, metadata=person.metadata)


async def revisions(
    sales: ServiceUnderTest, person: Person, parent: str, **paging: Any
) -> list[Revision]:
    request = ListRevisionsRequest(parent=parent, **paging)
    page = await stub(sales).ListRevisions(request, metadata=person.metadata)
    return list(page.revisions)


def changes(revision: Revision) -> dict[str, tuple[Any, Any]]:
    """Field → old and new value."""
    return {
        c.field: (MessageToDict(c.old_value), MessageToDict(c.new_value)) for c in revision.changes
    }


async def test_every_change_is_one_revision_with_old_and_new_values(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: each version of a record says who changed which fields from what to what."""
    ada = await sales.person("sales.*")
    metadata = (*ada.metadata, ("x-request-id", "a-request-of-ada"))
    created = await create(sales, ada, next_step="Call")
    request = opportunity_pb2.UpdateOpportunityRequest(
        opportunity=Opportunity(
            name=created.name, amount=Money(currency_code="EUR", units=12, nanos=500_000_000)
        ),
        update_mask=FieldMask(paths=["amount", "next_step"]),
    )
    await stub(sales).UpdateOpportunity(request, metadata=metadata)
    won = await stub(sales).WinOpportunity(
        opportunity_pb2.WinOpportunityRequest(name=created.name), metadata=ada.metadata
    )
    deleted = opportunity_pb2.DeleteOpportunityRequest(name=created.name)
    await stub(sales).DeleteOpportunity(deleted, metadata=ada.metadata)
    undeleted = opportunity_pb2.UndeleteOpportunityRequest(name=created.name)
    await stub(sales).UndeleteOpportunity(undeleted, metadata=ada.metadata)

    newest_first = await revisions(sales, ada, created.name)
    kinds = ["undeleted", "deleted", "won", "updated", "created"]
    assert [(r.kind, r.version) for r in newest_first] == list(
        zip(kinds, (5, 4, 3, 2, 1), strict=True)
    )
    assert {r.actor for r in newest_first} == {ada.name}
    _, trashed, win, change, first = newest_first
    assert change.name == f"{created.name}/revisions/2"
    assert change.correlation_id == "a-request-of-ada"
    assert change.create_time.ToNanoseconds() >= first.create_time.ToNanoseconds()
    assert changes(change) == {
        "amount": (None, {"currency_code": "EUR", "units": "12", "nanos": 500_000_000}),
        "amount_source": (None, "MANUAL"),
        "next_step": ("Call", None),
    }
    assert changes(win)["state"] == ("OPEN", "WON")
    assert changes(win)["stage"] == (created.stage, won.stage)
    assert set(changes(trashed)) == {"delete_time"}
    assert changes(first)["owner"] == (None, ada.name)
    assert changes(first)["probability"] == (None, created.probability)
    assert "create_time" not in changes(first)


async def test_lists_and_maps_are_shown_as_in_the_record(sales: ServiceUnderTest) -> None:
    """A console renders an old value as it renders the record."""
    ada = await sales.person("sales.*")
    product = await product_pb2_grpc.ProductServiceStub(sales.channel).CreateProduct(
        product_pb2.CreateProductRequest(product=product_pb2.Product(display_name="Machine")),
        metadata=ada.metadata,
    )
    created = await create(sales, ada, labels={"tier": "gold"})
    line = Opportunity.Line(product=product.name, quantity="2.5")
    changed = await update(sales, ada, name=created.name, lines=[line], labels={"tier": "iron"})
    newest, _ = await revisions(sales, ada, created.name)
    shown = MessageToDict(changed, preserving_proto_field_name=True)
    (old, (new,)) = changes(newest)["lines"]
    assert old == []
    assert shown["lines"][0].items() <= new.items()
    assert changes(newest)["labels"] == ({"tier": "gold"}, {"tier": "iron"})


async def test_history_is_read_in_pages(sales: ServiceUnderTest) -> None:
    """INVARIANT: pages follow one another without gap or repetition."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    for number in range(5):
        await update(sales, ada, name=created.name, next_step=f"Step {number}")
    seen: list[int] = []
    request = ListRevisionsRequest(parent=created.name, page_size=2)
    while True:
        page = await stub(sales).ListRevisions(request, metadata=ada.metadata)
        seen += [r.version for r in page.revisions]
        if not page.next_page_token:
            break
        request.page_token = page.next_page_token
    assert seen == [6, 5, 4, 3, 2, 1]
    other = await create(sales, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await revisions(sales, ada, other.name, page_token=request.page_token)
    assert details_of(refused.value)["reason"] == "INVALID_PAGE_TOKEN"


async def test_history_is_seen_by_whoever_sees_the_record(sales: ServiceUnderTest) -> None:
    """INVARIANT: same permission and same record scope as Get; a foreign record is not found."""
    ada = await sales.person(("sales.*", "OWN"))
    bob = await sales.person(("sales.*", "OWN"))
    eve = await sales.person("sales.opportunities.list")
    created = await create(sales, ada)
    assert await revisions(sales, ada, created.name)
    with pytest.raises(grpc.aio.AioRpcError) as absent:
        await revisions(sales, bob, created.name)
    assert absent.value.code() == grpc.StatusCode.NOT_FOUND
    with pytest.raises(grpc.aio.AioRpcError) as forbidden:
        await revisions(sales, eve, created.name)
    assert forbidden.value.code() == grpc.StatusCode.PERMISSION_DENIED


@pytest.mark.parametrize("parent", ["", "nonsense", "products/x", "opportunities/x", "x" * 500])
async def test_the_history_of_nothing_is_refused(sales: ServiceUnderTest, parent: str) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await revisions(sales, ada, parent)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == ["parent"]


async def test_a_refused_change_leaves_no_trace(sales: ServiceUnderTest) -> None:
    """INVARIANT: history is written with the change, in one transaction."""
    ada = await sales.person("sales.*")
    created = await create(sales, ada)
    with pytest.raises(grpc.aio.AioRpcError):
        await update(sales, ada, name=created.name, probability=2.0)
    assert [r.version for r in await revisions(sales, ada, created.name)] == [1]
