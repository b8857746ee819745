"""Imports over gRPC: who may run one, what ends it, and how it goes on after a crash."""

import asyncio

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import import_pb2
from crmkit.feed.events import Event
from crmkit.jobs import JobRunner
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.imports.service import ImportService
from customer.service import SERVICE

from .imports import (
    Field,
    Import,
    Policy,
    counts,
    ended,
    imports,
    listed,
    run_import,
    sent,
    started,
)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"display_name,display_name\na,b\n", "more than once"),
        (b"display_name\n\xff\xfe\xfa\n", "UTF-8"),
    ],
)
async def test_a_file_that_cannot_be_read_fails_the_import_and_says_why(
    customer: ServiceUnderTest, content: bytes, message: str
) -> None:
    """INVARIANT: a bad file imports nothing and ends with a sentence for a person."""
    ada = await customer.person("customer.*")
    run = await run_import(customer, ada, content)
    assert run.state == Import.FAILED
    assert message in run.error_message
    assert counts(run) == (0, 0, 0, 0)


async def test_a_mapping_of_a_missing_column_fails_the_import(customer: ServiceUnderTest) -> None:
    """INVARIANT: a column that is not there is named."""
    ada = await customer.person("customer.*")
    mapping = Field(field="display_name", column="Firma")
    run = await run_import(customer, ada, b"Firm\nAcme\n", mapping)
    assert run.state == Import.FAILED
    assert "'Firma'" in run.error_message


@pytest.mark.parametrize(
    ("mapping", "field"),
    [
        (Field(field="nonsense", column="a"), "import.mappings[0].field"),
        (Field(field="create_time", column="a"), "import.mappings[0].field"),
        (Field(field="emails.nonsense", column="a"), "import.mappings[0].field"),
        (Field(field="display_name"), "import.mappings[0].column"),
        (
            Field(field="owner", column="a", lookup="teams.display_name"),
            "import.mappings[0].lookup",
        ),
    ],
)
async def test_a_wrong_mapping_is_refused_at_once(
    customer: ServiceUnderTest, mapping: Field, field: str
) -> None:
    """INVARIANT: what can be known before a row is read is said at once, naming the field."""
    ada = await customer.person("customer.*")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await started(customer, ada, b"a\n1\n", mapping)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(caught.value)["fields"] == [field]


async def test_an_import_needs_the_rights_that_its_rows_need(customer: ServiceUnderTest) -> None:
    """INVARIANT: nobody imports what they may not create, change, or rewrite the history of."""
    importer = ("customer.imports.create", "customer.imports.get")
    bob = await customer.person(*importer)
    for person, mapping, policy, permission in (
        (bob, [], Policy.SKIP, "customer.accounts.create"),
        (
            await customer.person(*importer, "customer.accounts.create"),
            [],
            Policy.UPDATE,
            "customer.accounts.update",
        ),
        (
            await customer.person(*importer, "customer.accounts.create"),
            [Field(field="state", value="CUSTOMER")],
            Policy.SKIP,
            "customer.accounts.import_history",
        ),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await started(customer, person, b"display_name\nA\n", *mapping, policy=policy)
        assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
        assert details_of(caught.value)["metadata"]["permission"] == permission


async def test_people_see_their_own_imports_only(customer: ServiceUnderTest) -> None:
    """INVARIANT: an import belongs to whoever asked for it, except for the scope ALL."""
    ada = await customer.person(("customer.*", "OWN"))
    eve = await customer.person(("customer.*", "OWN"))
    admin = await customer.person("*")
    run = await run_import(customer, ada, b"display_name\nMine Ltd\n")
    request = import_pb2.GetImportRequest(name=run.name)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imports(customer).GetImport(request, metadata=eve.metadata)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert await imports(customer).GetImport(request, metadata=admin.metadata) == run
    lists = import_pb2.ListImportsRequest(page_size=1)
    answer = await imports(customer).ListImports(lists, metadata=ada.metadata)
    assert list(answer.imports) == [run]
    assert not answer.next_page_token
    answer = await imports(customer).ListImports(lists, metadata=admin.metadata)
    assert answer.next_page_token


async def test_an_ended_import_cannot_be_cancelled(customer: ServiceUnderTest) -> None:
    """INVARIANT: an end is final."""
    ada = await customer.person("customer.*")
    run = await run_import(customer, ada, b"display_name\nEnded Ltd\n")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await imports(customer).CancelImport(
            import_pb2.CancelImportRequest(name=run.name), metadata=ada.metadata
        )
    assert details_of(caught.value)["reason"] == "ILLEGAL_TRANSITION"


async def test_an_ended_import_is_told_once_without_personal_data(
    customer: ServiceUnderTest,
) -> None:
    """To whoever started it, with what became of the rows."""
    ada = await customer.person("customer.*")
    run = await run_import(customer, ada, b"display_name,kind\nTold Ltd,ORGANISATION\n,\n")
    feed = customer.running.feed

    async def told() -> list[Event]:
        last = (await feed.head()).last_seq  # other tests' imports are long
        wires = await feed.read(max(0, last - 100), 100)
        return [Event(wire) for wire in wires if wire.subject == run.name]

    (event,) = await eventually(told)
    outcome = event.message.outcome
    assert (event.routing_key, outcome.name) == ("customer.import.ended", run.name)
    assert (outcome.creator, outcome.resource) == (ada.name, "accounts")
    assert outcome.state == outcome.SUCCEEDED
    assert (outcome.processed_count, outcome.failed_count) == (2, 1)
    assert b"Told" not in event.wire.payload


async def test_a_repeated_request_id_starts_one_import(customer: ServiceUnderTest) -> None:
    """INVARIANT: a repeat answers the first import."""
    ada = await customer.person("customer.*")
    upload = await sent(customer, ada, b"display_name\nOnce Ltd\n")
    wanted = Import(resource="accounts", upload=upload.name)
    request = import_pb2.CreateImportRequest(
        **{"import": wanted}, request_id="0e69bf64-0000-4000-8000-000000000001"
    )
    first = await imports(customer).CreateImport(request, metadata=ada.metadata)
    second = await imports(customer).CreateImport(request, metadata=ada.metadata)
    assert first.name == second.name


async def test_an_import_goes_on_where_a_dead_worker_left_it(postgres: TestServer) -> None:
    """INVARIANT: a crash loses no row and doubles none; events are as many as records."""
    rows = "".join(f"Crash {n},Crash {n - 1}\n" for n in range(3000))
    content = f"display_name,parent\n{rows}".encode()
    mapping = Field(field="parent_account", column="parent", lookup="accounts.display_name")
    count = compile_statement(
        sa.text(
            "SELECT (SELECT count(*) FROM accounts), (SELECT count(DISTINCT id) FROM accounts),"
            " (SELECT count(*) FROM event_log WHERE routing_key LIKE 'customer.account.%')"
            " + (SELECT count(*) FROM outbox WHERE routing_key LIKE 'customer.account.%')"
        )
    )
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as customer:
        ada = await customer.person("customer.*")
        run = await started(customer, ada, content, mapping)
        home = customer.running.home
        handlers = ImportService(
            "customer", {c.name: c for c in SERVICE.collections}
        ).job_handlers()

        async def progressed(rows: int) -> bool:
            request = import_pb2.GetImportRequest(name=run.name)
            found = await imports(customer).GetImport(request, metadata=ada.metadata)
            return found.processed_rows >= rows

        for rows_done in (500, 2000):
            runner = JobRunner(home, handlers, poll_seconds=0.01)
            worker = asyncio.create_task(runner.run(asyncio.Event()))
            await eventually(lambda done=rows_done: progressed(done))
            worker.cancel()
            await asyncio.gather(worker, return_exceptions=True)
        worker = asyncio.create_task(JobRunner(home, handlers).run(asyncio.Event()))
        run = await ended(customer, ada, run)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        assert run.state == Import.SUCCEEDED, run.error_message
        assert (run.processed_rows, *counts(run)) == (3000, 3000, 0, 0, 0)
        assert run.warning_count == 1  # the first account's parent is not there
        row = await customer.database.fetch_one(count)
        assert row is not None
        assert row[:2] == (3000, 3000)
        linked_later = await customer.database.fetch_one(
            compile_statement(sa.text("SELECT count(*) FROM accounts WHERE version = 2"))
        )
        assert linked_later is not None
        assert row[2] == 3000 + linked_later[0]


async def test_a_cancelled_import_stops_and_keeps_what_is_done(postgres: TestServer) -> None:
    """INVARIANT: after CancelImport no further row is written."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as customer:
        ada = await customer.person("customer.*")
        run = await started(customer, ada, b"display_name\nNever Ltd\n")
        request = import_pb2.CancelImportRequest(name=run.name)
        cancelled = await imports(customer).CancelImport(request, metadata=ada.metadata)
        assert cancelled.state == Import.CANCELLED
        handlers = ImportService(
            "customer", {c.name: c for c in SERVICE.collections}
        ).job_handlers()
        runner = JobRunner(customer.running.home, handlers, poll_seconds=0.01)
        worker = asyncio.create_task(runner.run(asyncio.Event()))
        no_jobs = compile_statement(sa.text("SELECT count(*) = 0 FROM job WHERE kind = 'import'"))

        async def worked_off() -> bool:
            row = await customer.database.fetch_one(no_jobs)
            return bool(row and row[0])

        await eventually(worked_off)
        worker.cancel()
        await asyncio.gather(worker, return_exceptions=True)
        assert await listed(customer, ada) == {}
        events = await customer.running.feed.read(0, 1000)
        assert not [e for e in events if e.routing_key.endswith(".ended")]  # they know
