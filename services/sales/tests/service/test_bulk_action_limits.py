"""What a bulk action must not do, and what is left when its worker dies or it is cancelled."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.json_format import MessageToDict, ParseDict

from crm.common.v1 import bulk_action_pb2 as pb
from crm.options.v1 import options_pb2
from crm.sales.v1 import (
    audit_pb2,
    opportunity_pb2,
    product_pb2,
)
from crmkit.ids import uuid7
from crmkit.jobs import JobRunner
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.bulk import job
from sales.service import SERVICE

from .bulk_actions import (
    BulkAction,
    State,
    bulk,
    counts,
    done,
    ended,
    issues,
    now,
    opportunities,
    opportunity,
    products,
    reverted,
    some_products,
    started,
)


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
