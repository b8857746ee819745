"""Bulk actions over gRPC: the same change to many records. Shown with products and opportunities."""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict, ParseDict

from crm.common.v1 import bulk_action_pb2 as pb
from crm.common.v1 import custom_field_pb2
from crm.common.v1.job_pb2 import JobOutcome
from crm.common.v1.revision_pb2 import ListRevisionsRequest, Revision
from crm.options.v1 import options_pb2
from crm.sales.v1 import (
    audit_pb2,
    bulk_action_pb2,
    bulk_action_pb2_grpc,
    custom_field_pb2_grpc,
    opportunity_pb2,
    opportunity_pb2_grpc,
    product_pb2,
    product_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.jobs import JobRunner
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.bulk import job
from sales.service import SERVICE

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


async def change(
    sales: ServiceUnderTest, person: Person, record: Product, **fields: Any
) -> Product:
    request = product_pb2.UpdateProductRequest(product=Product(name=record.name, **fields))
    return await products(sales).UpdateProduct(request, metadata=person.metadata)


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


async def newest(sales: ServiceUnderTest, person: Person, record: Any) -> Revision:
    request = ListRevisionsRequest(parent=record.name, page_size=1)
    answer = await products(sales).ListRevisions(request, metadata=person.metadata)
    return answer.revisions[0]


@asynccontextmanager
async def worker(sales: ServiceUnderTest) -> AsyncIterator[None]:
    """Jobs are worked off for as long as the block lasts; then the worker dies."""
    runner = JobRunner(sales.running.home, sales.running._job_handlers(), poll_seconds=0.01)
    task = asyncio.create_task(runner.run(asyncio.Event()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@contextmanager
def hanging_after(monkeypatch: pytest.MonkeyPatch, rows: int) -> Iterator[asyncio.Event]:
    """Workers of bulk actions wait, between two pieces, for the event once so many records are dealt with."""
    piece, go_on = job._Work._piece, asyncio.Event()

    async def hang(work: Any, run: Any) -> Any:
        if run.processed_rows >= rows:
            await go_on.wait()
        return await piece(work, run)

    with monkeypatch.context() as patched:
        patched.setattr(job._Work, "_piece", hang)
        yield go_on


async def refused(call: Any) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    details = details_of(caught.value)
    return details["reason"], details["fields"]


async def events(sales: ServiceUnderTest, record: Any) -> list[Any]:
    """Routing key, version, cause, correlation and actor of a record's events."""
    query = sa.text(
        "SELECT routing_key, subject_version, causation_id, correlation_id, actor FROM event_log"
        " WHERE subject = :subject ORDER BY feed_seq"
    )

    async def published() -> list[Any] | None:
        rows = await sales.database.fetch_all(compile_statement(query), {"subject": record.name})
        newest = await products(sales).GetProduct(
            product_pb2.GetProductRequest(name=record.name), metadata=root.metadata
        )
        return rows if rows and f'"{rows[-1][1]}"' == newest.etag else None

    root = await sales.person("*")
    return await eventually(published) or []


async def told(sales: ServiceUnderTest, run: BulkAction) -> JobOutcome:
    """What other services hear of a bulk action's end: one event."""
    query = sa.text("SELECT routing_key, payload FROM event_log WHERE subject = :subject")

    async def published() -> list[Any]:
        return await sales.database.fetch_all(compile_statement(query), {"subject": run.name})

    ((routing_key, payload),) = await eventually(published) or []
    assert routing_key == "sales.bulk_action.ended"
    return bulk_action_pb2.BulkActionEnded.FromString(bytes(payload)).outcome


async def test_what_a_filter_finds_is_changed_as_by_hand(sales: ServiceUnderTest) -> None:
    """INVARIANT: each record gets its version, its history and its event, whose cause is the bulk action."""
    ada = await sales.person("sales.*")
    found, filter_ = await some_products(sales, ada, 120, active=True)
    (other,), _ = await some_products(sales, ada, 1, active=True)
    await change(sales, ada, found[3], active=False)
    run = await done(sales, ada, filter=filter_, values={"active": False})
    assert counts(run) == (120, 119, 1, 0)
    assert (run.creator, run.filter, run.reverts) == (ada.name, filter_, "")
    after = await now(sales, ada, [*found, other])
    assert [p.active for p in after] == [False] * 120 + [True]
    assert {p.etag for p in after} == {'"2"', '"1"'}
    for record in (found[0], found[119]):
        created, updated = await events(sales, record)
        assert created[:3] == ("sales.product.created", 1, "")
        assert updated[:3] == ("sales.product.updated", 2, run.name)
        assert updated[4] == ada.name
        revision = await newest(sales, ada, record)
        assert (revision.causation_id, revision.correlation_id) == updated[2:4]
        assert (revision.actor, [c.field for c in revision.changes]) == (ada.name, ["active"])
    again = await done(sales, ada, filter=filter_, values={"active": False})
    assert counts(again) == (120, 0, 120, 0)
    assert await now(sales, ada, [*found, other]) == after


async def test_owner_custom_fields_and_cleared_fields_are_changed_and_taken_back(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: a revert gives every record the values that it had, each its own."""
    ada = await sales.person("sales.*")
    bob = await sales.person("sales.*", team=await sales.team())
    definition = custom_field_pb2.CustomField(
        resource="opportunities", field_id=f"f{uuid4().hex}", display_name="Region",
        type=custom_field_pb2.CustomField.TEXT, filterable=True,
    )  # fmt: skip
    definitions = custom_field_pb2_grpc.CustomFieldServiceStub(sales.channel)
    region = await definitions.CreateCustomField(
        custom_field_pb2.CreateCustomFieldRequest(custom_field=definition), metadata=ada.metadata
    )
    field, mark = region.field_id, f"m{uuid4().hex}"
    made = [
        await opportunity(
            sales, ada, next_step=f"Step {n}", labels={"mark": mark},
            amount={"currency_code": "EUR", "units": n},
            expected_close_date={"year": 2027, "month": 1, "day": n + 1},
            custom_fields={field: f"old {n}"} if n else {},
        )
        for n in range(3)
    ]  # fmt: skip

    async def all_three() -> list[Opportunity]:
        request = opportunity_pb2.BatchGetOpportunitiesRequest(names=[o.name for o in made])
        answer = await opportunities(sales).BatchGetOpportunities(request, metadata=ada.metadata)
        return list(answer.opportunities)

    values = {
        "owner": bob.name, "next_step": None, "custom_fields": {field: "EMEA"},
        "amount": {"currency_code": "USD", "units": "7"}, "expected_close_date": None,
    }  # fmt: skip
    run = await done(
        sales, ada, resource="opportunities", filter=f'labels.mark = "{mark}"', values=values
    )
    assert counts(run) == (3, 3, 0, 0)
    for changed in await all_three():
        assert (changed.owner, changed.team) == (bob.name, f"teams/{bob.team}")
        assert MessageToDict(changed.custom_fields) == {field: "EMEA"}
        assert (changed.amount.currency_code, changed.amount.units) == ("USD", 7)
        assert changed.next_step == ""
        assert not changed.HasField("expected_close_date")
    back = await reverted(sales, ada, run)
    assert (back.state, counts(back)) == (State.SUCCEEDED, (3, 3, 0, 0))
    stamps = ("etag", "update_time")
    restored = await all_three()
    for before, after in zip(made, restored, strict=True):
        for stamp in stamps:
            before.ClearField(stamp)
            after.ClearField(stamp)
    assert restored == made
    forth = await reverted(sales, ada, back)
    assert counts(forth) == (3, 3, 0, 0)
    assert {o.owner for o in await all_three()} == {bob.name}


async def test_what_followed_from_other_values_follows_again_after_a_revert(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: an amount of the lines and a probability of the stage are such again, not set by hand."""
    ada = await sales.person("sales.*")
    price = {"currency_code": "EUR", "units": "5"}
    line = {"product": (await product(sales, ada)).name, "unit_price": price}
    made = await opportunity(sales, ada, lines=[line])
    by_hand = {"amount": {"currency_code": "EUR", "units": "7"}, "probability": 0.77}
    wanted = {"resource": "opportunities", "names": [made.name]}
    run = await done(sales, ada, values=by_hand, **wanted)
    assert run.changed_count == 1
    back = await reverted(sales, ada, run)
    assert (back.changed_count, await issues(sales, ada, back)) == (1, [])
    get = opportunity_pb2.GetOpportunityRequest(name=made.name)
    after = await opportunities(sales).GetOpportunity(get, metadata=ada.metadata)
    for record in (made, after):
        record.ClearField("etag")
        record.ClearField("update_time")
    assert after == made


async def test_a_revert_leaves_what_somebody_has_changed_since(sales: ServiceUnderTest) -> None:
    """INVARIANT: nobody's work is overwritten; such records are reported."""
    ada = await sales.person("sales.*", "sales.products.purge")
    made, filter_ = await some_products(sales, ada, 4)
    run = await done(sales, ada, filter=filter_, values={"active": False})
    await change(sales, ada, made[1], labels={"by": "hand"})
    gone = product_pb2.DeleteProductRequest(name=made[2].name)
    await products(sales).DeleteProduct(gone, metadata=ada.metadata)
    await products(sales).PurgeProduct(
        product_pb2.PurgeProductRequest(name=made[2].name), metadata=ada.metadata
    )
    back = await reverted(sales, ada, run)
    assert counts(back) == (4, 2, 0, 2)
    assert await issues(sales, ada, back) == [
        (made[1].name, "", "CHANGED_SINCE"),
        (made[2].name, "", "RECORD_NOT_FOUND"),
    ]
    after = await now(sales, ada, [made[0], made[1], made[3]])
    assert [p.active for p in after] == [True, False, True]
    assert after[1].labels == {"by": "hand"}
    assert counts(await reverted(sales, ada, run)) == (4, 0, 0, 4)


async def test_delete_and_undelete_and_their_reverts(sales: ServiceUnderTest) -> None:
    """The trash is the other side of each: a filter of an undelete looks into it."""
    ada = await sales.person("sales.*")
    made, filter_ = await some_products(sales, ada, 3)

    async def trash() -> list[bool]:
        return [p.HasField("delete_time") for p in await now(sales, ada, made)]

    run = await done(sales, ada, action="DELETE", filter=filter_)
    assert (counts(run), await trash()) == ((3, 3, 0, 0), [True] * 3)
    assert counts(await done(sales, ada, action="DELETE", filter=filter_)) == (0, 0, 0, 0)
    back = await reverted(sales, ada, run)
    assert (back.action, counts(back), await trash()) == (
        BulkAction.UNDELETE, (3, 3, 0, 0), [False] * 3,
    )  # fmt: skip
    named = {"names": [p.name for p in made]}
    assert counts(await done(sales, ada, action="UNDELETE", **named)) == (3, 0, 0, 3)
    await done(sales, ada, action="DELETE", **named)
    run = await done(sales, ada, action="UNDELETE", filter=filter_)
    assert (counts(run), await trash()) == ((3, 3, 0, 0), [False] * 3)
    assert counts(await reverted(sales, ada, run)) == (3, 3, 0, 0)
    assert [e[0] for e in await events(sales, made[0])] == [
        f"sales.product.{kind}"
        for kind in ("created", "deleted", "undeleted", "deleted", "undeleted", "deleted")
    ]


async def test_a_preview_shows_what_would_happen_and_changes_nothing(
    sales: ServiceUnderTest,
) -> None:
    """INVARIANT: no record, no history, no event, no job and no entry in the audit log."""
    ada = await sales.person("sales.*")
    made, filter_ = await some_products(sales, ada, 25)
    await change(sales, ada, made[1], sku=(sku := f"s{uuid4().hex}"))
    before = await now(sales, ada, made)
    tables = ("outbox", "revision", "bulk_action", "bulk_action_row", "job", "idempotency")
    count = sa.text(
        f"SELECT {', '.join(f'(SELECT count(*) FROM {t})' for t in tables if t != 'outbox')},"
        " (SELECT count(*) FROM outbox) + (SELECT count(*) FROM event_log)"
    )
    rows = await sales.database.fetch_one(compile_statement(count))
    shown = await started(sales, ada, validate_only=True, filter=filter_, values={"sku": sku})
    assert (shown.name, shown.total_rows, len(shown.samples)) == ("", 25, 20)
    assert [s.record for s in shown.samples] == [p.name for p in made[:20]]
    unchanged = shown.samples[1]
    assert [f.name for f, _ in unchanged.ListFields()] == ["record"]
    assert {(s.issue.field, s.issue.reason) for s in shown.samples if s != unchanged} == {
        ("sku", "ALREADY_EXISTS")
    }
    shown = await started(sales, ada, validate_only=True, filter=filter_, values={"active": False})
    for sample in shown.samples:
        (changed,) = sample.changes
        values = changed.old_value.bool_value, changed.new_value.bool_value
        assert (changed.field, *values) == ("active", True, False)
    names = [made[0].name, f"products/{uuid7()}"]
    shown = await started(sales, ada, validate_only=True, action="DELETE", names=names)
    assert [c.field for c in shown.samples[0].changes] == ["delete_time"]
    assert (shown.total_rows, shown.samples[1].issue.reason) == (2, "RECORD_NOT_FOUND")
    assert await now(sales, ada, made) == before
    assert await sales.database.fetch_one(compile_statement(count)) == rows


async def test_a_record_that_refuses_stands_for_itself(sales: ServiceUnderTest) -> None:
    """INVARIANT: what the rules or the database refuse for one record is reported; the others change."""
    ada = await sales.person("sales.*")
    made, filter_ = await some_products(sales, ada, 5)
    sku = f"s{uuid4().hex}"
    run = await done(sales, ada, filter=filter_, values={"sku": sku, "active": False})
    assert counts(run) == (5, 1, 0, 4)
    assert await issues(sales, ada, run) == [(p.name, "sku", "ALREADY_EXISTS") for p in made[1:]]
    outcome = await told(sales, run)
    assert (outcome.creator, outcome.processed_count, outcome.failed_count) == (ada.name, 5, 4)
    assert [(p.sku, p.active) for p in await now(sales, ada, made)] == [
        (sku, False), *[("", True)] * 4,
    ]  # fmt: skip
    gone = product_pb2.DeleteProductRequest(name=made[2].name)
    await products(sales).DeleteProduct(gone, metadata=ada.metadata)
    names = [p.name for p in made[1:4]]
    run = await done(sales, ada, names=names, values={"active": False})
    assert counts(run) == (3, 2, 0, 1)
    assert await issues(sales, ada, run) == [(made[2].name, "", "RECORD_DELETED")]


async def test_nobody_changes_what_they_could_not_change_by_hand(sales: ServiceUnderTest) -> None:
    """INVARIANT: a filter finds, and names reach, only what lies within the scope of the change."""
    root = await sales.person("sales.*")
    ada = await sales.person(
        ("sales.opportunities.list", "ALL"), ("sales.opportunities.*", "OWN"),
        ("sales.pipelines.*", "ALL"), ("sales.bulkActions.*", "OWN"),
    )  # fmt: skip
    mark = f"m{uuid4().hex}"
    own = await opportunity(sales, ada, labels={"mark": mark})
    foreign = await opportunity(sales, root, labels={"mark": mark})
    wanted = {
        "resource": "opportunities", "filter": f'labels.mark = "{mark}"',
        "values": {"next_step": "Mine"},
    }  # fmt: skip
    shown = await started(sales, ada, validate_only=True, **wanted)
    run = await done(sales, ada, **wanted)
    assert (shown.total_rows, *counts(run)) == (1, 1, 1, 0, 0)
    del wanted["filter"]
    run = await done(sales, ada, names=[own.name, foreign.name], **wanted)
    assert counts(run) == (2, 0, 1, 1)
    assert await issues(sales, ada, run) == [(foreign.name, "", "RECORD_NOT_FOUND")]
    get = opportunity_pb2.GetOpportunityRequest(name=foreign.name)
    assert await opportunities(sales).GetOpportunity(get, metadata=root.metadata) == foreign
    for look in (
        bulk(sales).GetBulkAction(pb.GetBulkActionRequest(name=run.name), metadata=root.metadata),
        bulk(sales).ListBulkActionIssues(
            pb.ListBulkActionIssuesRequest(parent=run.name), metadata=root.metadata
        ),
    ):
        await look  # with the scope ALL
    eve = await sales.person(("sales.*", "OWN"))
    for request, method in (
        (pb.GetBulkActionRequest(name=run.name), "GetBulkAction"),
        (pb.CancelBulkActionRequest(name=run.name), "CancelBulkAction"),
        (pb.RevertBulkActionRequest(name=run.name), "RevertBulkAction"),
        (pb.ListBulkActionIssuesRequest(parent=run.name), "ListBulkActionIssues"),
    ):
        reason, _ = await refused(getattr(bulk(sales), method)(request, metadata=eve.metadata))
        assert reason == "RECORD_NOT_FOUND"
    listed = await bulk(sales).ListBulkActions(pb.ListBulkActionsRequest(), metadata=eve.metadata)
    assert not listed.bulk_actions


@pytest.mark.parametrize(
    ("missing", "wanted"),
    [
        ("sales.bulkActions.create", {"values": {"active": False}}),
        ("sales.products.update", {"values": {"active": False}}),
        ("sales.products.delete", {"action": "DELETE"}),
        ("sales.products.undelete", {"action": "UNDELETE"}),
        ("sales.products.list", {"values": {"active": False}}),
    ],
)
async def test_a_bulk_action_needs_the_permission_of_the_change(
    sales: ServiceUnderTest, missing: str, wanted: dict[str, Any]
) -> None:
    """INVARIANT: no job gives what the single method refuses."""
    verbs = [f"sales.products.{v}" for v in ("list", "update", "delete", "undelete")]
    eve = await sales.person(*{"sales.bulkActions.create", *verbs} - {missing})
    for validate_only in (True, False):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await started(sales, eve, validate_only=validate_only, filter="active = true", **wanted)
        assert caught.value.code() == grpc.StatusCode.PERMISSION_DENIED
        assert details_of(caught.value)["metadata"]["permission"] == missing


@pytest.mark.parametrize(
    ("wanted", "wrong"),
    [
        ({"resource": "accounts"}, "bulk_action.resource"),
        ({"action": 0}, "bulk_action.action"),
        ({"filter": ""}, "bulk_action.filter"),
        ({"filter": "  "}, "bulk_action.filter"),
        ({"names": ["products/1"]}, "bulk_action.filter"),
        ({"filter": "", "names": ["products/1"]}, "bulk_action.names[0]"),
        ({"filter": "", "names": ["1) UNION SELECT"]}, "bulk_action.names[0]"),
        ({"filter": "", "names": [f"products/{uuid7()}"] * 2}, None),
        ({"filter": "password_hash = 1"}, "bulk_action.filter"),
        ({"filter": "OR 1=1)--"}, "bulk_action.filter"),
        ({"values": {}}, "bulk_action.values"),
        ({"values": {"colour": "red"}}, "bulk_action.values.colour"),
        ({"values": {"name": "products/1"}}, "bulk_action.values.name"),
        ({"values": {"version": 1}}, "bulk_action.values.version"),
        ({"values": {"active": "perhaps"}}, "bulk_action.values.active"),
        ({"values": {"kind": "ELEPHANT"}}, "bulk_action.values.kind"),
        ({"values": {"sku": "x" * 101}}, "bulk_action.values.sku"),
        ({"values": {"sku": "two\nlines"}}, "bulk_action.values.sku"),
        ({"values": {"display_name": None}}, "bulk_action.values.display_name"),
        ({"values": {"unit_price": {"units": "1"}}}, "bulk_action.values.unit_price.currency_code"),
        ({"values": {"custom_fields": "x"}}, "bulk_action.values.custom_fields"),
        ({"values": {"custom_fields": {"nope": 1}}}, "bulk_action.values.custom_fields.nope"),
        (
            {"resource": "opportunities", "filter": "amount > 1", "values": {"pipeline": "1"}},
            "bulk_action.values.pipeline",
        ),
        ({"update_mask": "etag"}, "bulk_action.update_mask"),
        ({"update_mask": "*"}, "bulk_action.update_mask"),
        ({"action": "DELETE"}, "bulk_action.values"),
    ],
    ids=str,
)
async def test_a_bulk_action_that_makes_no_sense_is_refused(
    sales: ServiceUnderTest, wanted: dict[str, Any], wrong: str | None
) -> None:
    """The field at fault is named, in a preview too."""
    ada = await sales.person("sales.*")
    valid = {"filter": "active = true", "values": {"active": True}}
    for validate_only in (True, False):
        _, fields = await refused(
            started(sales, ada, validate_only=validate_only, **{**valid, **wanted})
        )
        assert fields == [wrong or "bulk_action.names[1]"]


async def test_what_no_record_may_refer_to_is_refused(sales: ServiceUnderTest) -> None:
    """INVARIANT: a value that fails for every record fails before the first."""
    ada = await sales.person("sales.*", "customer.accounts.get")
    wanted = {"resource": "opportunities", "filter": "amount > 1"}
    pipeline, account = uuid7(), await sales.know("accounts", deleted=True)
    for values, reason in (
        ({"pipeline": f"pipelines/{pipeline}"}, "IMMUTABLE_FIELD"),
        ({"account": f"accounts/{account}"}, "REFERENCE_DELETED"),
    ):
        (field,) = values
        refusal = await refused(started(sales, ada, values=values, **wanted))
        assert refusal == (reason, [f"bulk_action.values.{field}"])


async def test_a_number_that_is_none_is_refused(sales: ServiceUnderTest) -> None:
    """JSON has no infinity; protobuf's Struct has."""
    ada = await sales.person("sales.*")
    action = BulkAction(resource="products", action=BulkAction.UPDATE, filter="active = true")
    action.values.update({"unit_price": float("inf")})
    request = pb.CreateBulkActionRequest(bulk_action=action)
    reason, fields = await refused(bulk(sales).CreateBulkAction(request, metadata=ada.metadata))
    assert (reason, fields) == ("INVALID_FIELD", ["bulk_action.values"])


async def test_a_mask_clears_what_it_names_and_values_lack(sales: ServiceUnderTest) -> None:
    """As in every update; the answer says it without a mask."""
    ada = await sales.person("sales.*")
    made, filter_ = await some_products(sales, ada, 1, sku=f"s{uuid4().hex}", active=False)
    run = await done(
        sales, ada, filter=filter_, update_mask="sku", values={"active": True, "kind": "SERVICE"}
    )
    (after,) = await now(sales, ada, made)
    assert (after.sku, after.active, after.kind) == ("", False, made[0].kind)
    assert MessageToDict(run.values) == {"sku": None}
    assert not run.HasField("update_mask")


async def test_the_audit_log_hears_of_bulk_changes(sales: ServiceUnderTest) -> None:
    """INVARIANT: bulk actions, reverts and batches are recorded."""
    ada = await sales.person("sales.*")
    made, filter_ = await some_products(sales, ada, 1)
    run = await done(sales, ada, filter=filter_, values={"active": False})
    back = await reverted(sales, ada, run)
    batch = product_pb2.BatchDeleteProductsRequest(names=[made[0].name])
    await products(sales).BatchDeleteProducts(batch, metadata=ada.metadata)
    query = sa.text(
        "SELECT payload FROM event_log WHERE routing_key = 'sales.audit_entry.recorded'"
        " AND actor = :actor ORDER BY feed_seq"
    )

    async def recorded() -> list[Any] | None:
        rows = await sales.database.fetch_all(compile_statement(query), {"actor": ada.name})
        return rows if len(rows) == 3 else None

    payloads = await eventually(recorded) or []
    records = [audit_pb2.AuditEntryRecorded.FromString(bytes(p[0])).record for p in payloads]
    assert {r.category for r in records} == {options_pb2.BULK_CHANGE}
    assert [(r.action.rpartition(".")[2], r.subject) for r in records] == [
        ("CreateBulkAction", run.name), ("RevertBulkAction", back.name), ("BatchDeleteProducts", ""),
    ]  # fmt: skip


async def test_a_repeat_answers_the_first_bulk_action(sales: ServiceUnderTest) -> None:
    """INVARIANT: the same request id starts nothing twice."""
    ada = await sales.person("sales.products.*", ("sales.bulkActions.*", "OWN"))
    _, filter_ = await some_products(sales, ada, 1)
    action = ParseDict(
        {"resource": "products", "action": "DELETE", "filter": filter_}, BulkAction()
    )
    request = pb.CreateBulkActionRequest(bulk_action=action, request_id=str(uuid4()))
    first = await bulk(sales).CreateBulkAction(request, metadata=ada.metadata)
    assert await bulk(sales).CreateBulkAction(request, metadata=ada.metadata) == first
    listed = await bulk(sales).ListBulkActions(pb.ListBulkActionsRequest(), metadata=ada.metadata)
    assert [run.name for run in listed.bulk_actions] == [first.name]


async def test_it_goes_on_where_a_worker_died(
    postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: a crash loses no record and changes none twice."""
    async with service_under_test(SERVICE, postgres, roles=("serve", "relay")) as sales:
        ada = await sales.person("sales.*")
        _, filter_ = await some_products(sales, ada, 450)
        run = await started(sales, ada, filter=filter_, values={"active": False})
        assert not run.HasField("total_rows")

        async def progressed(rows: int) -> bool:
            request = pb.GetBulkActionRequest(name=run.name)
            found = await bulk(sales).GetBulkAction(request, metadata=ada.metadata)
            return found.processed_rows >= rows

        with hanging_after(monkeypatch, 200):
            async with worker(sales):
                await eventually(lambda: progressed(200))
        await some_products(sales, ada, 1)
        async with worker(sales):
            run = await ended(sales, ada, run)
        assert (run.state, counts(run)) == (State.SUCCEEDED, (450, 450, 0, 0))
        count = sa.text(
            "SELECT count(*), count(DISTINCT record) FROM revision WHERE causation_id = :cause"
        )
        found = await sales.database.fetch_one(compile_statement(count), {"cause": run.name})
        assert found == (450, 450)


async def test_rights_are_those_of_the_moment(postgres: TestServer) -> None:
    """INVARIANT: what is withdrawn after the request is withdrawn for every record not yet changed."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as sales:
        ada = await sales.person("sales.*")
        made, filter_ = await some_products(sales, ada, 2)
        runs = {}
        for loses in ("permission", "account"):
            eve = await sales.person("sales.*")
            runs[loses] = (eve, await started(sales, eve, filter=filter_, values={"active": False}))
        rights = sales.running.home.rights
        rights._principals.clear()
        rights.roles[rights.users[runs["permission"][0].id].roles[0]] = []
        del rights.users[runs["account"][0].id]
        for _, promised in runs.values():
            async with worker(sales):
                run = await ended(sales, ada, promised)
            assert (run.state, run.processed_rows) == (State.FAILED, 0)
            assert run.error_message
        assert await now(sales, ada, made) == made


async def test_a_cancelled_one_stops_and_what_it_did_can_be_taken_back(
    postgres: TestServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: after CancelBulkAction no further record is changed; the state allows what it allows."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as sales:
        ada = await sales.person("sales.*")
        made, filter_ = await some_products(sales, ada, 250)
        run = await started(sales, ada, filter=filter_, values={"active": False})

        async def verb(name: str) -> BulkAction:
            request = getattr(pb, f"{name}Request")(name=run.name)
            return await getattr(bulk(sales), name)(request, metadata=ada.metadata)

        assert await refused(verb("RevertBulkAction")) == ("ILLEGAL_TRANSITION", [])

        async def progressed() -> bool:
            return (await verb("GetBulkAction")).processed_rows >= 100

        async def given_up() -> bool:
            jobs = sa.text("SELECT count(*) FROM job")
            return await sales.database.fetch_one(compile_statement(jobs)) == (0,)

        with hanging_after(monkeypatch, 100) as go_on:
            async with worker(sales):
                await eventually(progressed)
                cancelled = await verb("CancelBulkAction")
                go_on.set()
                await eventually(given_up)
        assert (cancelled.state, cancelled.changed_count) == (State.CANCELLED, 100)
        assert await verb("GetBulkAction") == cancelled
        assert sum(not p.active for p in await now(sales, ada, made)) == 100
        async with worker(sales):
            assert await refused(verb("CancelBulkAction")) == ("ILLEGAL_TRANSITION", [])
            back = await reverted(sales, ada, cancelled)
        assert counts(back) == (100, 100, 0, 0)
        assert all(p.active for p in await now(sales, ada, made))
        old = sa.text("UPDATE bulk_action SET end_time = now() - interval '31 days'")
        await sales.database.execute(compile_statement(old))
        assert await refused(verb("RevertBulkAction")) == ("REVERT_EXPIRED", [])
        await started(sales, ada, filter=filter_, values={"active": False})
        left = sa.text("SELECT count(*) FROM bulk_action_row")
        assert await sales.database.fetch_one(compile_statement(left)) == (0,)
