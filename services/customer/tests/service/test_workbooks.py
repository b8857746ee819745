"""Workbooks (XLSX) sent into a real service and fetched from it."""

import io
import zipfile
from datetime import UTC, date, datetime
from typing import Any
from uuid import uuid4

import grpc
import pytest
import xlsxwriter
from python_calamine import CalamineWorkbook

from crm.customer.v1 import contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from . import test_export
from .imports import Field, Import, counts, issues, listed, run_import, sent
from .test_export import Export


def workbook(*rows: list[Any]) -> bytes:
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"default_date_format": "yyyy-mm-dd"})
    sheet = book.add_worksheet("People")
    for number, cells in enumerate(rows):
        sheet.write_row(number, 0, cells)
    book.close()
    return out.getvalue()


async def cells(customer: ServiceUnderTest, person: Person, **fields: object) -> list[list[Any]]:
    content = await test_export.exported(customer, person, format=Export.XLSX, **fields)
    return CalamineWorkbook.from_filelike(io.BytesIO(content)).get_sheet_by_index(0).to_python()


async def test_a_workbook_is_imported_with_its_types(customer: ServiceUnderTest) -> None:
    """INVARIANT: a row of a sheet becomes the record that the same row of CSV would, numbered as there."""
    ada = await customer.person("customer.*")
    content = workbook(
        ["Firm", "employee_count", "annual_revenue", "partner", "founded_year", "custom"],
        ["Sheet Ltd", 1200, 12.5, True, 1999.0, "x"],
        ["", 5],
        ["Odd Sheet Ltd", "many"],
    )
    run = await run_import(
        customer,
        ada,
        content,
        Field(field="display_name", column="Firm"),
        Field(field="annual_revenue.currency_code", value="EUR"),
    )
    assert run.state == Import.SUCCEEDED, run.error_message
    assert counts(run) == (2, 0, 0, 1)
    account = (await listed(customer, ada))["Sheet Ltd"]
    assert (account.employee_count, account.founded_year, account.partner) == (1200, 1999, True)
    assert (account.annual_revenue.units, account.annual_revenue.nanos) == (12, 500_000_000)
    found = [(issue.row, issue.field) for issue in await issues(customer, ada, run)]
    assert found == [(3, "display_name"), (4, "employee_count")]


async def test_a_sheet_is_chosen_by_its_name(customer: ServiceUnderTest) -> None:
    """INVARIANT: what is not there ends the import with a reason for programs and for people."""
    ada = await customer.person("customer.*")
    run = await run_import(customer, ada, workbook(["display_name"], ["Q Ltd"]), sheet="Other")
    assert (run.state, run.error_reason) == (Import.FAILED, "SHEET_NOT_FOUND")
    assert "People" in run.error_message


async def test_a_harmful_workbook_is_not_even_kept(customer: ServiceUnderTest) -> None:
    """INVARIANT: the upload itself is refused, naming the field, and the service goes on."""
    ada = await customer.person("customer.*")
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/workbook.xml", b"<x/>")
        archive.writestr("xl/worksheets/sheet1.xml", b" " * 50_000_000)
    for content, reason in (
        (out.getvalue(), "WORKBOOK_TOO_LARGE"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "UNREADABLE_WORKBOOK"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await sent(customer, ada, content)
        assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
        assert details_of(caught.value)["reason"] == reason
        assert details_of(caught.value)["fields"] == ["file"]


async def test_an_exported_workbook_has_typed_cells_and_imports_again(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: numbers are numbers, text is text and runs as nothing, and all of it comes back."""
    ada = await customer.person("customer.*")
    stub = contact_pb2_grpc.ContactServiceStub(customer.channel)
    mark = f"{uuid4()}"
    contacts = [
        contact_pb2.Contact(
            display_name=name,
            external_id=f"{mark}-{n}",
            job_title=f"={n}+1",
            do_not_call=n % 2 == 0,
        )
        for n, name in enumerate(["=HYPERLINK(A1)", "'=quoted", "-1", "12", "https://x.example"])
    ]
    for contact in contacts:
        contact.birthday.year, contact.birthday.month, contact.birthday.day = 1980, 2, 29
        request = contact_pb2.CreateContactRequest(contact=contact)
        await stub.CreateContact(request, metadata=ada.metadata)
    fields = ["external_id", "display_name", "job_title", "do_not_call", "birthday", "create_time"]
    wanted = {"resource": "contacts", "filter": f'external_id = "{mark}*"', "fields": fields}
    header, *rows = await cells(customer, ada, **wanted, order_by="external_id")
    assert header == fields
    # As text that looks guarded has one more apostrophe, `'=quoted` is what it was after an import.
    assert [row[1] for row in rows] == [
        "=HYPERLINK(A1)", "''=quoted", "-1", "12", "https://x.example",
    ]  # fmt: skip
    assert rows[0][2:5] == ["=0+1", True, date(1980, 2, 29)]
    assert abs((rows[0][5].replace(tzinfo=UTC) - datetime.now(UTC)).total_seconds()) < 60
    content = await test_export.exported(
        customer, ada, **{**wanted, "fields": fields[:5]}, format=Export.XLSX
    )
    formulas = zipfile.ZipFile(io.BytesIO(content)).read("xl/worksheets/sheet1.xml")
    assert b"<f>" not in formulas
    run = await run_import(
        customer, ada, content, policy=Import.DuplicatePolicy.UPDATE, resource="contacts"
    )
    assert run.state == Import.SUCCEEDED, run.error_message
    assert (counts(run), run.warning_count) == ((0, 0, 5, 0), 0)  # nothing differs
