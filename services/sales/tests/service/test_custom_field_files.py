"""Custom fields in files: what is exported is imported again."""

from collections.abc import Iterator
from typing import Any

from crm.common.v1 import export_pb2, import_pb2
from crm.sales.v1 import export_pb2_grpc, import_pb2_grpc
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

from .test_custom_fields import OPTIONS, create, define, names, product_pb2, products, values


async def ended(get: Any, request: Any, person: Person) -> Any:
    async def look() -> Any:
        found = await get(request, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    return await eventually(look, timeout=30)


async def run_import(sales: ServiceUnderTest, person: Person, content: bytes) -> Any:
    stub = import_pb2_grpc.ImportServiceStub(sales.channel)

    def pieces() -> Iterator[import_pb2.CreateUploadRequest]:
        request = import_pb2.CreateUploadRequest()
        request.file.data = content
        yield request

    upload = await stub.CreateUpload(pieces(), metadata=person.metadata)
    wanted = import_pb2.Import(
        resource="products",
        upload=upload.name,
        duplicate_policy=import_pb2.Import.DuplicatePolicy.UPDATE,
    )
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    run = await stub.CreateImport(request, metadata=person.metadata)
    return await ended(stub.GetImport, import_pb2.GetImportRequest(name=run.name), person)


async def exported(sales: ServiceUnderTest, person: Person, filter_: str) -> str:
    stub = export_pb2_grpc.ExportServiceStub(sales.channel)
    wanted = export_pb2.Export(
        resource="products", filter=filter_, fields=["display_name", "custom_fields"]
    )
    run = await stub.CreateExport(
        export_pb2.CreateExportRequest(export=wanted), metadata=person.metadata
    )
    await ended(stub.GetExport, export_pb2.GetExportRequest(name=run.name), person)
    download = stub.DownloadExport(
        export_pb2.DownloadExportRequest(name=run.name), metadata=person.metadata
    )
    return b"".join([body.data async for body in download]).decode("utf-8-sig")


async def test_a_file_with_custom_fields_is_imported_and_exported(sales: ServiceUnderTest) -> None:
    """INVARIANT: columns are named alike both ways; a bad value is left out with a warning."""
    root = await sales.person("*")
    region = await define(sales, root, "OPTION", options=OPTIONS, filterable=True)
    score = await define(sales, root, "NUMBER")
    budget = await define(sales, root, "MONEY")
    link = await define(sales, root, "REFERENCE", target="products")
    other = await create(sales, root)
    ids = [f.field_id for f in (region, score, budget, link)]
    header = ",".join(["display_name", "external_id", *[f"custom_fields.{i}" for i in ids]])
    rows = [f"A {ids[0]},x-{ids[0]},emea,2.5,12.50 EUR,{other.name}", f"B {ids[0]},,mars,many,,"]
    run = await run_import(sales, root, "\n".join([header, *rows, ""]).encode())
    assert (run.created_count, run.failed_count, run.warning_count) == (2, 0, 1)
    by_region = f"custom_fields.{ids[0]} = emea"
    (name,) = await names(sales, root, filter=by_region)
    request = product_pb2.GetProductRequest(name=name)
    product = await products(sales).GetProduct(request, metadata=root.metadata)
    assert values(product) == {
        ids[0]: "emea",
        ids[1]: 2.5,
        ids[2]: {"amount": "12.50", "currency_code": "EUR"},
        ids[3]: other.name,
    }
    text = await exported(sales, root, by_region)
    head, line = [row.split(",") for row in text.splitlines()]
    cells = dict(zip(head, line, strict=True))
    shown = [cells[f"custom_fields.{i}"] for i in ids]
    assert shown == ["emea", "2.5", "12.50 EUR", other.name]
    again = f"display_name,external_id,custom_fields.{ids[1]}\nA {ids[0]},x-{ids[0]},3\n"
    run = await run_import(sales, root, again.encode())
    assert run.updated_count == 1
    product = await products(sales).GetProduct(request, metadata=root.metadata)
    assert values(product)[ids[1]] == 3
    assert values(product)[ids[0]] == "emea"
