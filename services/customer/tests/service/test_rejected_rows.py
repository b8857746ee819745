"""Rows that an import refuses: handed out as they stood, with what is wrong, to be mended."""

import csv
import io
from datetime import timedelta

import grpc
import pytest

from crm.common.v1 import import_pb2
from crmkit import clock
from crmkit.testing.harness import Person, ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.imports import rejected
from customer.service import SERVICE

from .imports import Field, Import, counts, imports, listed, run_import, started


async def downloaded(customer: ServiceUnderTest, person: Person, run: Import) -> list[list[str]]:
    request = import_pb2.DownloadRejectedRowsRequest(name=run.name)
    pieces = imports(customer).DownloadRejectedRows(request, metadata=person.metadata)
    data = b"".join([piece.data async for piece in pieces])
    return list(csv.reader(io.StringIO(data.decode()), strict=True))


def written(table: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(table)
    return text.getvalue().encode()


async def test_rejected_rows_are_mended_and_imported_again(customer: ServiceUnderTest) -> None:
    """INVARIANT: what was imported and what is handed out are together the whole file, to the last cell."""
    ada = await customer.person("customer.*")
    content = (
        b"firm;note;seats;name\n"
        b"Kept Mend Ltd;a;5;x\n"
        b';"two\nlines; and ""quotes""";-5;=1+1\n'
        b"Ragged Mend Ltd;short\n"
        b'Broken Mend Ltd;"q"q;1;y\n'
        b"Long Mend Ltd;a;1;z;more\n"
    )
    mapping = Field(field="display_name", column="firm")
    run = await run_import(customer, ada, content, mapping)
    assert counts(run) == (1, 0, 0, 4)
    table = await downloaded(customer, ada, run)
    assert table[0] == ["firm", "note", "seats", "name", "import_error"]
    assert table[1][:4] == ["", 'two\nlines; and "quotes"', "-5", "'=1+1"]
    assert table[1][4].startswith("display_name: ")
    assert table[2][:4] == ["Ragged Mend Ltd", "short", "", ""]
    assert "2 cells" in table[2][4]
    assert table[3][0] == 'Broken Mend Ltd;"q"q;1;y'
    assert table[4][:4] == ["Long Mend Ltd", "a", "1", "z"]
    assert table[4][5:] == ["more"]

    for index, row in enumerate(table[1:]):
        row[:] = [f"Mended {index}", *row[1:4], row[4] if index else ""]
    table[4].append("still too long")
    again = await run_import(customer, ada, written(table), mapping)
    assert counts(again) == (3, 0, 0, 1)
    assert {f"Mended {n}" for n in range(3)} <= (await listed(customer, ada)).keys()
    # A second round shows the newest errors only.
    second = await downloaded(customer, ada, again)
    assert second[0] == ["firm", "note", "seats", "name", "import_error"]
    assert [row[0] for row in second[1:]] == ["Mended 3"]
    assert "6 cells" in second[1][4]


async def test_a_dry_run_hands_out_what_would_be_rejected(customer: ServiceUnderTest) -> None:
    """INVARIANT: mistakes can be mended before anything is written."""
    ada = await customer.person("customer.*")
    content = b"display_name,website\nDry And Sound Ltd,\n,https://x.example\n"
    run = await run_import(customer, ada, content, validate_only=True)
    assert counts(run) == (1, 0, 0, 1)
    assert [row[:2] for row in await downloaded(customer, ada, run)] == [
        ["display_name", "website"],
        ["", "https://x.example"],
    ]


async def test_many_rejected_rows_come_in_the_order_of_the_file(customer: ServiceUnderTest) -> None:
    """INVARIANT: none is left out where they do not fit into one page."""
    ada = await customer.person("customer.*")
    rows = "".join(f",https://{n}.example\n" for n in range(1203))
    run = await run_import(customer, ada, f"display_name,website\n{rows}".encode())
    assert run.failed_count == 1203
    table = await downloaded(customer, ada, run)
    assert [row[1] for row in table[1:]] == [f"https://{n}.example" for n in range(1203)]


async def test_rejected_rows_are_refused_with_a_reason_where_there_are_none(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: foreign, unended, sound and old imports have none, and say which of these it is."""
    ada = await customer.person(("customer.*", "OWN"))
    eve = await customer.person(("customer.*", "OWN"))
    sound = await run_import(customer, ada, b"display_name\nSound Ltd\n")
    refused = await run_import(customer, ada, b"display_name,website\n,x\n")

    async def reason(person: Person, run: Import) -> str:
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await downloaded(customer, person, run)
        return str(details_of(caught.value)["reason"])

    assert await reason(ada, sound) == "NO_REJECTED_ROWS"
    assert await reason(eve, refused) == "RECORD_NOT_FOUND"
    later = clock.now() + rejected.KEPT_FOR + timedelta(minutes=1)
    await rejected.delete_old(customer.database, later)
    assert await reason(ada, refused) == "REJECTED_ROWS_EXPIRED"


async def test_rejected_rows_wait_for_the_end_of_their_import(postgres: TestServer) -> None:
    """INVARIANT: nobody mends half of a file and believes that it is all."""
    async with service_under_test(SERVICE, postgres, roles=("serve",)) as customer:
        ada = await customer.person("customer.*")
        run = await started(customer, ada, b"display_name,website\n,x\n")  # no worker takes it
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await downloaded(customer, ada, run)
        assert details_of(caught.value)["reason"] == "IMPORT_NOT_ENDED"
