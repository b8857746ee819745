"""Exports over gRPC from a real service: what a person who fetches a file may rely on."""

import asyncio
import codecs
import csv
import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from python_calamine import CalamineWorkbook

from crm.common.v1 import export_pb2, import_pb2
from crm.common.v1.audit_pb2 import AuditRecord
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    export_pb2_grpc,
    import_pb2_grpc,
)
from crmkit.feed.events import Event
from crmkit.ids import uuid7
from crmkit.jobs import JobRunner
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.exports.service import ExportService
from customer.service import SERVICE

Export = export_pb2.Export
STAMPS = ("name", "uid", "etag", "create_time", "update_time", "customer_number")


def exports(customer: ServiceUnderTest) -> export_pb2_grpc.ExportServiceStub:
    return export_pb2_grpc.ExportServiceStub(customer.channel)


async def create(
    customer: ServiceUnderTest, person: Person, **fields: object
) -> account_pb2.Account:
    stub = account_pb2_grpc.AccountServiceStub(customer.channel)
    request = account_pb2.CreateAccountRequest(account=account_pb2.Account(**fields))
    return await stub.CreateAccount(request, metadata=person.metadata)


async def listed(
    customer: ServiceUnderTest, person: Person, filter_: str
) -> list[account_pb2.Account]:
    stub = account_pb2_grpc.AccountServiceStub(customer.channel)
    request = account_pb2.ListAccountsRequest(filter=filter_, page_size=1000)
    return list((await stub.ListAccounts(request, metadata=person.metadata)).accounts)


async def started(customer: ServiceUnderTest, person: Person, **fields: object) -> Export:
    wanted = Export(**{"resource": "accounts", **fields})
    request = export_pb2.CreateExportRequest(export=wanted)
    return await exports(customer).CreateExport(request, metadata=person.metadata)


async def ended(customer: ServiceUnderTest, person: Person, run: Export) -> Export:
    async def look() -> Export | None:
        request = export_pb2.GetExportRequest(name=run.name)
        found = await exports(customer).GetExport(request, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    found = await eventually(look, timeout=30)
    assert found is not None
    return found


async def downloaded(customer: ServiceUnderTest, person: Person, run: Export) -> bytes:
    request = export_pb2.DownloadExportRequest(name=run.name)
    answer = exports(customer).DownloadExport(request, metadata=person.metadata)
    return b"".join([piece.data async for piece in answer])


async def exported(customer: ServiceUnderTest, person: Person, **fields: object) -> bytes:
    run = await ended(customer, person, await started(customer, person, **fields))
    assert run.state == Export.SUCCEEDED, run.error_message
    return await downloaded(customer, person, run)


def rows_of(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline="")))


async def imported(customer: ServiceUnderTest, person: Person, content: bytes) -> import_pb2.Import:
    stub = import_pb2_grpc.ImportServiceStub(customer.channel)
    upload = import_pb2.CreateUploadRequest()
    upload.file.data = content
    sent = await stub.CreateUpload(iter([upload]), metadata=person.metadata)
    wanted = import_pb2.Import(
        resource="accounts", upload=sent.name, duplicate_policy=import_pb2.Import.CREATE
    )
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    run = await stub.CreateImport(request, metadata=person.metadata)

    async def look() -> import_pb2.Import | None:
        get = import_pb2.GetImportRequest(name=run.name)
        found = await stub.GetImport(get, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    found = await eventually(look, timeout=30)
    assert found is not None
    return found


async def test_an_ended_export_is_told_once_without_personal_data(
    customer: ServiceUnderTest,
) -> None:
    """To whoever started it, with how many records there were."""
    ada = await customer.person("customer.*")
    await create(customer, ada, display_name="Told", labels={"told": "yes"})
    run = await started(customer, ada, filter='labels.told = "yes" AND display_name = "Told"')
    await ended(customer, ada, run)
    (event,) = await customer.events(run.name)
    outcome = event.message.outcome
    assert (event.routing_key, outcome.name) == ("customer.export.ended", run.name)
    assert (outcome.creator, outcome.processed_count, outcome.failed_count) == (ada.name, 1, 0)
    assert b"Told" not in event.wire.payload


async def test_an_exported_file_imports_again_as_equal_records(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: the columns and texts of an export are those that an import understands."""
    ada = await customer.person("customer.*")
    parent = await create(customer, ada, display_name="Parent of the round")
    await create(
        customer,
        ada,
        display_name="=Round(1,2)",
        legal_name="'=guarded already",
        industry='-minus; and a "quoted" line',
        kind=account_pb2.Account.ORGANISATION,
        partner=True,
        founded_year=1912,
        employee_count=0,
        annual_revenue={"currency_code": "EUR", "units": 1_000_000, "nanos": 250_000_000},
        labels={"round": "yes", "tier, a": "=gold"},
        parent_account=parent.name,
        emails=[{"address": "a@round.example", "label": "work"}, {"address": "b@round.example"}],
        addresses=[{"address_lines": ["Main; Street 1", "2nd floor"], "region_code": "DE"}],
        domains=["round.example", "round.test"],
        preferred_channel="PHONE",
        quiet_hours_start="22:00",
        quiet_hours_end="07:30",
        time_zone="Europe/Berlin",
        language_code="de",
        interests=["sailing", "=chess"],
        important_dates=[{"label": "founded", "date": {"year": 1912, "month": 4, "day": 14}}],
    )
    await create(customer, ada, display_name="陈记有限公司", labels={"round": "yes"})
    fields = [
        *("name", "labels", "display_name", "legal_name", "kind", "state", "partner", "website"),
        *("industry", "founded_year", "employee_count", "annual_revenue", "parent_account"),
        *("emails", "phones", "addresses", "create_time", "domains", "preferred_channel"),
        *("quiet_hours_start", "quiet_hours_end", "time_zone", "language_code", "interests"),
        "important_dates",
    ]
    before = await listed(customer, ada, 'labels.round = "yes"')
    content = await exported(customer, ada, filter='labels.round = "yes"', fields=fields)
    run = await imported(customer, ada, content)
    assert (run.created_count, run.failed_count, run.warning_count) == (2, 0, 0)
    after = await listed(customer, ada, 'labels.round = "yes"')
    copies = [account for account in after if account.name not in {a.name for a in before}]
    for account in (*before, *copies):
        for stamp in STAMPS:
            account.ClearField(stamp)
    assert len(before) == 2
    assert sorted(map(str, copies)) == sorted(map(str, before))


async def test_free_text_is_no_formula_in_a_spreadsheet(customer: ServiceUnderTest) -> None:
    """INVARIANT: no cell that people fill begins as a formula does; numbers stay numbers."""
    ada = await customer.person("customer.*")
    names = ["=1+1", "+1", "-1", "@SUM(A1)", "\uff1d1", "plain"]
    for name in names:
        await create(customer, ada, display_name=name, industry="formulas", employee_count=7)
    content = await exported(
        customer, ada, filter='industry = "formulas"', order_by="create_time",
        fields=["display_name", "employee_count"],
    )  # fmt: skip
    rows = rows_of(content)
    assert [row["display_name"] for row in rows] == [*(f"'{name}" for name in names[:5]), "plain"]
    assert {row["employee_count"] for row in rows} == {"7"}


async def test_an_export_holds_what_its_creator_may_list(customer: ServiceUnderTest) -> None:
    """INVARIANT: the record scope of the creator holds; nobody else fetches the file."""
    ada = await customer.person("customer.*")
    bob = await customer.person(("customer.*", "OWN"))
    await create(customer, ada, display_name="Of Ada", industry="scope")
    own = await create(customer, bob, display_name="Of Bob", industry="scope")
    run = await ended(customer, bob, await started(customer, bob, filter='industry = "scope"'))
    (row,) = rows_of(await downloaded(customer, bob, run))
    assert row["name"] == own.name
    assert row["owner"] == bob.name
    assert (run.total_rows, run.processed_rows) == (1, 1)
    assert run.size_bytes == len(await downloaded(customer, bob, run))
    stranger = await customer.person(("customer.*", "OWN"))
    peeper = await customer.person("customer.exports.get", ("customer.accounts.list", "OWN"))
    for person in (stranger, peeper):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await downloaded(customer, person, run)
        assert caught.value.code() is grpc.StatusCode.NOT_FOUND


async def test_an_export_needs_the_right_to_list(customer: ServiceUnderTest) -> None:
    """INVARIANT: `exports.create` alone opens no collection."""
    bob = await customer.person("customer.exports.*")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await started(customer, bob)
    assert caught.value.code() is grpc.StatusCode.PERMISSION_DENIED
    assert details_of(caught.value)["metadata"]["permission"] == "customer.accounts.list"


@pytest.mark.parametrize(
    ("fields", "at"),
    [
        ({"resource": "nonsense"}, "export.resource"),
        ({"filter": "nonsense = 1"}, "export.filter"),
        ({"order_by": "nonsense"}, "export.order_by"),
        ({"fields": ["nonsense"]}, "export.fields[0]"),
        ({"fields": ["display_name", "display_name"]}, "export.fields[1]"),
        ({"fields": ["emails.address"]}, "export.fields[0]"),
    ],
)
async def test_a_wrong_export_is_refused_at_once(
    customer: ServiceUnderTest, fields: dict[str, object], at: str
) -> None:
    """INVARIANT: what can be known before a row is written is said at once, naming the field."""
    ada = await customer.person("customer.*")
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await started(customer, ada, **fields)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(caught.value)["fields"] == [at]


@asynccontextmanager
async def worker(customer: ServiceUnderTest) -> AsyncIterator[None]:
    """A worker that dies at the end of the block."""
    handlers = ExportService({c.name: c for c in SERVICE.collections}).job_handlers()
    runner = JobRunner(customer.running.home, handlers, poll_seconds=0.01)
    task = asyncio.create_task(runner.run(asyncio.Event()))
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def names_in(content: bytes, kind: int) -> list[str]:
    if kind == Export.CSV:
        return [row["display_name"] for row in rows_of(content)]
    sheet = CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0)
    return [row[0] for row in sheet.to_python()[1:]]


@pytest.mark.parametrize("kind", [Export.CSV, Export.XLSX])
async def test_an_export_goes_on_where_a_worker_died(postgres: TestServer, kind: int) -> None:
    """INVARIANT: a crash loses no row and doubles none; only a complete file can be fetched."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as customer:
        ada = await customer.person("customer.*")
        rows = "".join(f"Crash {n}\n" for n in range(3500))
        home = customer.running.home
        jobs = customer.running._job_handlers()
        filling = asyncio.create_task(JobRunner(home, jobs).run(asyncio.Event()))
        await imported(customer, ada, f"display_name\n{rows}".encode())
        filling.cancel()
        await asyncio.gather(filling, return_exceptions=True)
        run = await started(customer, ada, fields=["display_name"], format=kind)
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await downloaded(customer, ada, run)
        assert details_of(caught.value)["reason"] == "EXPORT_NOT_READY"

        async def progressed(rows: int) -> bool:
            request = export_pb2.GetExportRequest(name=run.name)
            found = await exports(customer).GetExport(request, metadata=ada.metadata)
            return found.processed_rows >= rows

        # Behind the last page a workbook is still to be made.
        for rows_done in (1000, 2000, 3500) if kind == Export.XLSX else (1000, 2000):
            async with worker(customer):
                await eventually(lambda done=rows_done: progressed(done))
        async with worker(customer):
            run = await ended(customer, ada, run)
        assert run.state == Export.SUCCEEDED, run.error_message
        assert (run.total_rows, run.processed_rows) == (3500, 3500)
        content = await downloaded(customer, ada, run)
        assert run.size_bytes == len(content)
        found = names_in(content, kind)
        assert sorted(found) == sorted(f"Crash {n}" for n in range(3500))


async def test_a_cancelled_export_leaves_no_file(postgres: TestServer) -> None:
    """INVARIANT: what was stopped stays stopped, and nothing of it can be fetched."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as customer:
        ada = await customer.person("customer.*")
        run = await started(customer, ada)
        cancel = export_pb2.CancelExportRequest(name=run.name)
        cancelled = await exports(customer).CancelExport(cancel, metadata=ada.metadata)
        assert cancelled.state == Export.CANCELLED
        for refused, reason in (
            (exports(customer).CancelExport(cancel, metadata=ada.metadata), "ILLEGAL_TRANSITION"),
            (downloaded(customer, ada, run), "EXPORT_NOT_READY"),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await refused
            assert details_of(caught.value)["reason"] == reason


async def test_every_download_is_recorded_before_anything_leaves(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: one entry for each download, none for one that has no file, one for each refused."""
    ada, bob = await customer.person("customer.*"), await customer.person("customer.accounts.*")
    run = await ended(customer, ada, await started(customer, ada))
    for _ in range(2):
        await downloaded(customer, ada, run)
    with pytest.raises(grpc.aio.AioRpcError):
        await downloaded(customer, bob, run)
    with pytest.raises(grpc.aio.AioRpcError):
        await downloaded(customer, ada, Export(name=f"exports/{uuid7()}"))

    async def recorded() -> list[AuditRecord]:
        wires = [Event(w) for w in await customer.running.feed.read(0, 1000)]
        records = [w.message.record for w in wires if "audit" in w.routing_key]
        action, actors = "customer.ExportService.DownloadExport", {ada.name, bob.name}
        found = [r for r in records if r.action == action and r.actor in actors]
        return found if len(found) >= 3 else []

    found = await eventually(recorded)
    assert [(r.actor, r.subject, r.reason) for r in found] == [
        (ada.name, run.name, ""), (ada.name, run.name, ""), (bob.name, "", "PERMISSION_DENIED"),
    ]  # fmt: skip


async def test_csv_for_excel_begins_with_a_byte_order_mark(customer: ServiceUnderTest) -> None:
    """INVARIANT: only where it is asked for, only in CSV, and the file imports again all the same."""
    ada = await customer.person("customer.*")
    await create(customer, ada, display_name="Müller & Söhne")
    wanted = {"filter": 'display_name = "Müller & Söhne"', "fields": ["display_name"]}
    plain = await exported(customer, ada, **wanted)
    marked = await exported(customer, ada, byte_order_mark=True, **wanted)
    assert marked == codecs.BOM_UTF8 + plain
    run = await imported(customer, ada, marked)
    assert (run.created_count, run.warning_count) == (1, 0)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await started(customer, ada, byte_order_mark=True, format=Export.XLSX)
    assert details_of(refused.value)["fields"] == ["export.byte_order_mark"]
