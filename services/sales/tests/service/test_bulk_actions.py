"""Bulk actions over gRPC, shown with products and opportunities: changes, previews and reverts."""

from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict

from crm.common.v1 import custom_field_pb2
from crm.common.v1.job_pb2 import JobOutcome
from crm.common.v1.revision_pb2 import ListRevisionsRequest, Revision
from crm.sales.v1 import (
    bulk_action_pb2,
    custom_field_pb2_grpc,
    opportunity_pb2,
    product_pb2,
)
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

from .bulk_actions import (
    BulkAction,
    Opportunity,
    Product,
    State,
    counts,
    done,
    issues,
    now,
    opportunities,
    opportunity,
    product,
    products,
    reverted,
    some_products,
    started,
)


async def change(
    sales: ServiceUnderTest, person: Person, record: Product, **fields: Any
) -> Product:
    request = product_pb2.UpdateProductRequest(product=Product(name=record.name, **fields))
    return await products(sales).UpdateProduct(request, metadata=person.metadata)


async def newest(sales: ServiceUnderTest, person: Person, record: Any) -> Revision:
    request = ListRevisionsRequest(parent=record.name, page_size=1)
    answer = await products(sales).ListRevisions(request, metadata=person.metadata)
    return answer.revisions[0]


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
