"""Batches over gRPC: up to 1,000 records, all of them or none. Shown with products and opportunities."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask

from crm.common.v1.revision_pb2 import ListRevisionsRequest
from crm.sales.v1 import opportunity_pb2, opportunity_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Opportunity, Product = opportunity_pb2.Opportunity, product_pb2.Product
_OPEN = ("sales.opportunities.*", "OWN"), ("sales.pipelines.*", "ALL")


def opportunities(sales: ServiceUnderTest) -> opportunity_pb2_grpc.OpportunityServiceStub:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


def products(sales: ServiceUnderTest) -> product_pb2_grpc.ProductServiceStub:
    return product_pb2_grpc.ProductServiceStub(sales.channel)


async def opportunity(sales: ServiceUnderTest, person: Person, **fields: Any) -> Opportunity:
    request = opportunity_pb2.CreateOpportunityRequest(
        opportunity=Opportunity(display_name=f"O {uuid4()}", **fields)
    )
    return await opportunities(sales).CreateOpportunity(request, metadata=person.metadata)


async def product(sales: ServiceUnderTest, person: Person, **fields: Any) -> Product:
    request = product_pb2.CreateProductRequest(
        product=Product(display_name=f"P {uuid4()}", **fields)
    )
    return await products(sales).CreateProduct(request, metadata=person.metadata)


async def many_products(
    sales: ServiceUnderTest, person: Person, count: int, **fields: Any
) -> list[Product]:
    at_once = asyncio.Semaphore(50)

    async def one() -> Product:
        async with at_once:
            return await product(sales, person, **fields)

    return await asyncio.gather(*[one() for _ in range(count)])


async def update(
    sales: ServiceUnderTest,
    person: Person,
    names: list[str],
    values: dict[str, Any],
    paths: Sequence[str] = (),
    **request: Any,
) -> list[Opportunity]:
    answer = await opportunities(sales).BatchUpdateOpportunities(
        opportunity_pb2.BatchUpdateOpportunitiesRequest(
            names=names,
            opportunity=Opportunity(**values),
            update_mask=FieldMask(paths=paths),
            **request,
        ),
        metadata=person.metadata,
    )
    return list(answer.opportunities)


async def delete(sales: ServiceUnderTest, person: Person, names: list[str]) -> None:
    request = opportunity_pb2.BatchDeleteOpportunitiesRequest(names=names)
    await opportunities(sales).BatchDeleteOpportunities(request, metadata=person.metadata)


async def now(sales: ServiceUnderTest, person: Person, *records: Opportunity) -> list[Opportunity]:
    request = opportunity_pb2.BatchGetOpportunitiesRequest(names=[r.name for r in records])
    answer = await opportunities(sales).BatchGetOpportunities(request, metadata=person.metadata)
    return list(answer.opportunities)


async def test_a_batch_changes_every_record_as_a_single_change_would(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: each record of a batch gets its version, its history and its event; the order is kept."""
    ada = await sales.person("sales.*")
    bob = await sales.person(team=await sales.team())
    made = [await opportunity(sales, ada, next_step="Call") for _ in range(3)]
    names = [made[1].name, made[2].name, made[0].name]
    changed = await update(sales, ada, names, {"owner": bob.name}, ["owner", "next_step"])
    assert [o.name for o in changed] == names
    assert {(o.owner, o.team, o.next_step, o.etag) for o in changed} == {
        (bob.name, f"teams/{bob.team}", "", '"2"')
    }
    assert changed == await now(sales, ada, *changed)
    causes = set()
    for name in names:
        created, updated = await sales.events(name, count=2)
        assert (created.subject_version, updated.routing_key) == (1, "sales.opportunity.updated")
        assert list(updated.message.changed_fields) == ["next_step", "owner", "team"]
        revisions = await opportunities(sales).ListRevisions(
            ListRevisionsRequest(parent=name), metadata=ada.metadata
        )
        assert [r.version for r in revisions.revisions] == [2, 1]
        causes.add(revisions.revisions[0].correlation_id)
    assert len(causes) == 1


async def test_one_foreign_record_and_nothing_is_changed(sales: ServiceUnderTest) -> None:
    """INVARIANT: a record out of scope is answered like one that is absent, and the batch changes nothing."""
    root, ada = await sales.person("sales.*"), await sales.person(*_OPEN)
    own = [await opportunity(sales, ada) for _ in range(2)]
    foreign = await opportunity(sales, root)
    refusals = []
    rename = partial(update, sales, ada, values={"next_step": "Mine now"})
    for name in (foreign.name, f"opportunities/{uuid7()}"):
        with pytest.raises(grpc.aio.AioRpcError) as single:
            await opportunities(sales).GetOpportunity(
                opportunity_pb2.GetOpportunityRequest(name=name), metadata=ada.metadata
            )
        expected = details_of(single.value)
        del expected["metadata"]["request_id"]
        for change in (rename, partial(delete, sales, ada)):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await change(names=[own[0].name, name, own[1].name])
            said = details_of(refused.value)
            del said["metadata"]["request_id"]
            assert said == expected
            assert refused.value.details() == single.value.details()
            refusals.append(refused.value.code())
    assert set(refusals) == {grpc.StatusCode.NOT_FOUND}
    assert await now(sales, root, *own, foreign) == [*own, foreign]


async def test_a_stale_etag_stops_the_whole_batch(sales: ServiceUnderTest) -> None:
    """INVARIANT: the versions that are given are checked, each for its own record."""
    ada = await sales.person("sales.*")
    first, second = [await opportunity(sales, ada) for _ in range(2)]
    await update(sales, ada, [second.name], {"next_step": "Somebody was faster"})
    names = [first.name, second.name]
    etags = {first.name: first.etag, second.name: second.etag}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await update(sales, ada, names, {"next_step": "Late"}, etags=etags)
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"
    assert details_of(refused.value)["metadata"]["resource"] == second.name
    assert await now(sales, ada, first) == [first]
    fresh = {second.name: '"2"'}
    changed = await update(sales, ada, names, {"next_step": "On time"}, etags=fresh)
    assert [o.etag for o in changed] == ['"2"', '"3"']


async def test_one_record_that_refuses_stops_the_whole_batch(sales: ServiceUnderTest) -> None:
    """A deleted record among them, a unique value for two: the failure is the single change's."""
    ada = await sales.person("sales.*")
    kept, gone = [await product(sales, ada) for _ in range(2)]
    delete = product_pb2.BatchDeleteProductsRequest(names=[gone.name])
    await products(sales).BatchDeleteProducts(delete, metadata=ada.metadata)
    third = await product(sales, ada)
    cases = [
        ([kept, gone], {"category": "Tools"}, "RECORD_DELETED", gone.name),
        ([kept, third], {"sku": "the same for two"}, "ALREADY_EXISTS", None),
    ]
    for records, values, reason, resource in cases:
        request = product_pb2.BatchUpdateProductsRequest(
            names=[r.name for r in records], product=Product(**values)
        )
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await products(sales).BatchUpdateProducts(request, metadata=ada.metadata)
        details = details_of(refused.value)
        assert (details["reason"], details["metadata"].get("resource")) == (reason, resource)
    request = product_pb2.BatchGetProductsRequest(names=[kept.name, third.name])
    found = await products(sales).BatchGetProducts(request, metadata=ada.metadata)
    assert list(found.products) == [kept, third]


async def test_records_go_to_the_trash_and_come_back_together(sales: ServiceUnderTest) -> None:
    """INVARIANT: one that lies in the trash already, or does not, stops the whole batch."""
    ada = await sales.person("sales.*")
    made = [await product(sales, ada) for _ in range(3)]
    names = [p.name for p in made]

    async def delete(names: list[str]) -> list[Product]:
        request = product_pb2.BatchDeleteProductsRequest(names=names)
        answer = await products(sales).BatchDeleteProducts(request, metadata=ada.metadata)
        return list(answer.products)

    async def undelete(names: list[str]) -> list[Product]:
        request = product_pb2.BatchUndeleteProductsRequest(names=names)
        answer = await products(sales).BatchUndeleteProducts(request, metadata=ada.metadata)
        return list(answer.products)

    deleted = await delete(names[:2])
    assert [(p.name, p.HasField("delete_time")) for p in deleted] == [(n, True) for n in names[:2]]
    for refusing, reason in ((delete, "ALREADY_DELETED"), (undelete, "NOT_DELETED")):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await refusing(names)
        assert details_of(refused.value)["reason"] == reason
    restored = await undelete(names[:2])
    assert [(p.etag, p.HasField("delete_time")) for p in restored] == [('"3"', False)] * 2
    keys = [e.routing_key for e in await sales.events(names[0], count=3)]
    assert keys == [f"sales.product.{kind}" for kind in ("created", "deleted", "undeleted")]


@pytest.mark.parametrize(
    ("fields", "wrong"),
    [
        ({"names": []}, "names"),
        ({"names": ["products/1"]}, "names[0]"),
        ({"names": ["NAME", "NAME"]}, "names[1]"),
        ({"names": [f"products/{uuid7()}" for _ in range(1001)]}, "names"),
        ({"names": ["NAME"], "etags": {f"products/{uuid7()}": '"1"'}}, "etags"),
        ({"names": ["NAME"], "product": {"etag": '"1"'}}, "product.etag"),
        ({"names": ["NAME"], "product": {"name": "NAME"}}, "product.name"),
        ({"names": ["NAME"], "update_mask": "display_name"}, "product.display_name"),
        ({"names": ["NAME"], "update_mask": "version"}, "update_mask"),
        ({"names": ["1) UNION SELECT"]}, "names[0]"),
    ],
)
async def test_a_batch_that_makes_no_sense_is_refused(
    sales: ServiceUnderTest, fields: dict[str, Any], wrong: str
) -> None:
    """The field at fault is named."""
    ada = await sales.person("sales.*")
    own = await product(sales, ada)
    fields = {"product": {"category": "Tools"}} | fields
    request = product_pb2.BatchUpdateProductsRequest(
        names=[own.name if n == "NAME" else n for n in fields["names"]],
        product=Product(
            **{k: own.name if v == "NAME" else v for k, v in fields["product"].items()}
        ),
        etags=fields.get("etags", {}),
    )
    if "update_mask" in fields:
        request.product.Clear()
        request.product.sku = "1"
        request.update_mask.paths.append(fields["update_mask"])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await products(sales).BatchUpdateProducts(request, metadata=ada.metadata)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [wrong]


async def test_a_repeat_answers_the_first_batch(sales: ServiceUnderTest) -> None:
    """INVARIANT: the same request id changes nothing twice."""
    ada = await sales.person("sales.*")
    names = [(await opportunity(sales, ada)).name for _ in range(2)]
    request_id = str(uuid4())
    first = await update(sales, ada, names, {"next_step": "Once"}, request_id=request_id)
    assert await update(sales, ada, names, {"next_step": "Once"}, request_id=request_id) == first


@pytest.mark.parametrize("verb", ["update", "delete", "undelete"])
async def test_a_batch_needs_the_permission_of_the_single_change(
    sales: ServiceUnderTest, verb: str
) -> None:
    """INVARIANT: no batch gives what the single method refuses."""
    others = [v for v in ("get", "create", "update", "delete", "undelete") if v != verb]
    root = await sales.person("sales.*")
    eve = await sales.person(*[f"sales.products.{v}" for v in others])
    name = (await product(sales, root)).name
    method = f"Batch{verb.title()}Products"
    request = getattr(product_pb2, f"{method}Request")(names=[name])
    if verb == "update":
        request.product.category = "Tools"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await getattr(products(sales), method)(request, metadata=eve.metadata)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert details_of(refused.value)["metadata"]["permission"] == f"sales.products.{verb}"


async def test_batches_over_the_same_records_do_not_block_one_another_for_ever(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: records are locked in one order, whatever the order of the names."""
    ada = await sales.person("sales.*")
    names = [(await opportunity(sales, ada)).name for _ in range(20)]
    await asyncio.gather(
        *[
            update(sales, ada, names[:: 1 - 2 * (n % 2)], {"next_step": f"Step {n}"})
            for n in range(6)
        ]
    )
    query = sa.text(
        "SELECT count(*) FROM revision WHERE changes ? 'next_step' AND record = ANY(:ids)"
    )
    ids = [name.partition("/")[2] for name in names]
    bound = query.bindparams(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)))
    row = await sales.database.fetch_one(compile_statement(bound), {"ids": ids})
    assert row == (20 * 6,)


async def test_a_thousand_records_are_one_transaction(sales: ServiceUnderTest) -> None:
    """As many as a batch takes; all carry the same instant."""
    ada = await sales.person("sales.*")
    made = await many_products(sales, ada, 1000)
    names = [p.name for p in made]
    request = product_pb2.BatchUpdateProductsRequest(
        names=names, product=Product(category="Tools", labels={"a": "b"}, owner=ada.name)
    )
    answer = await products(sales).BatchUpdateProducts(request, metadata=ada.metadata, timeout=20)
    assert [p.name for p in answer.products] == names
    assert len({p.update_time.ToNanoseconds() for p in answer.products}) == 1


async def test_an_answer_that_no_client_takes_stops_the_batch(sales: ServiceUnderTest) -> None:
    """INVARIANT: what is committed is answered: clients refuse messages of more than 4 MiB."""
    ada = await sales.person("sales.*")
    labels = {f"label-{n}": "x" * 255 for n in range(64)}
    made = await many_products(sales, ada, 250, labels=labels)
    request = product_pb2.BatchDeleteProductsRequest(names=[p.name for p in made])
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await products(sales).BatchDeleteProducts(request, metadata=ada.metadata)
    assert details_of(refused.value)["reason"] == "ANSWER_TOO_LARGE"
    del request.names[100:]
    answer = await products(sales).BatchDeleteProducts(request, metadata=ada.metadata)
    assert len(answer.products) == 100
