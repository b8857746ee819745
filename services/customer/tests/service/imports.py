"""Files sent up and imported, for the tests of imports."""

from collections.abc import Iterator

from crm.common.v1 import import_pb2
from crm.customer.v1 import account_pb2, account_pb2_grpc, import_pb2_grpc
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

Import = import_pb2.Import
Policy = Import.DuplicatePolicy
Field = import_pb2.FieldMapping


def imports(customer: ServiceUnderTest) -> import_pb2_grpc.ImportServiceStub:
    return import_pb2_grpc.ImportServiceStub(customer.channel)


def accounts(customer: ServiceUnderTest) -> account_pb2_grpc.AccountServiceStub:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


async def sent(customer: ServiceUnderTest, person: Person, content: bytes) -> import_pb2.Upload:
    def pieces() -> Iterator[import_pb2.CreateUploadRequest]:
        for start in range(0, len(content), 100_000):
            request = import_pb2.CreateUploadRequest()
            request.file.data = content[start : start + 100_000]
            yield request

    return await imports(customer).CreateUpload(pieces(), metadata=person.metadata)


async def started(
    customer: ServiceUnderTest,
    person: Person,
    content: bytes,
    *mappings: Field,
    policy: int = Policy.SKIP,
    **fields: object,
) -> Import:
    upload = await sent(customer, person, content)
    said = {"resource": "accounts", **fields}
    wanted = Import(upload=upload.name, mappings=mappings, duplicate_policy=policy, **said)
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    return await imports(customer).CreateImport(request, metadata=person.metadata)


async def ended(customer: ServiceUnderTest, person: Person, run: Import) -> Import:
    async def look() -> Import | None:
        request = import_pb2.GetImportRequest(name=run.name)
        found = await imports(customer).GetImport(request, metadata=person.metadata)
        return found if found.HasField("end_time") else None

    found = await eventually(look, timeout=90)  # thousands of rows, on a busy machine
    assert found is not None
    return found


async def run_import(
    customer: ServiceUnderTest,
    person: Person,
    content: bytes,
    *mappings: Field,
    policy: int = Policy.SKIP,
    **fields: object,
) -> Import:
    run = await started(customer, person, content, *mappings, policy=policy, **fields)
    return await ended(customer, person, run)


async def listed(
    customer: ServiceUnderTest, person: Person, filter_: str = ""
) -> dict[str, account_pb2.Account]:
    request = account_pb2.ListAccountsRequest(page_size=1000, filter=filter_)
    answer = await accounts(customer).ListAccounts(request, metadata=person.metadata)
    return {account.display_name: account for account in answer.accounts}


def counts(run: Import) -> tuple[int, int, int, int]:
    return run.created_count, run.updated_count, run.skipped_count, run.failed_count


async def issues(
    customer: ServiceUnderTest, person: Person, run: Import
) -> list[import_pb2.ImportIssue]:
    request = import_pb2.ListImportIssuesRequest(parent=run.name, page_size=1000)
    answer = await imports(customer).ListImportIssues(request, metadata=person.metadata)
    return list(answer.issues)
