"""Imports over gRPC into a real service: what a person who sends a file up may rely on."""

import asyncio
from collections.abc import Iterator

import grpc
import pytest
import sqlalchemy as sa

from crm.common.v1 import import_pb2
from crm.customer.v1 import account_pb2, account_pb2_grpc, import_pb2_grpc
from crmkit.feed.events import Event
from crmkit.jobs import JobRunner
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest, details_of, service_under_test
from crmkit.testing.postgres import TestServer
from crmtransfer.imports.service import ImportService
from customer.service import SERVICE

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


async def issues(
    customer: ServiceUnderTest, person: Person, run: Import
) -> list[import_pb2.ImportIssue]:
    request = import_pb2.ListImportIssuesRequest(parent=run.name, page_size=1000)
    answer = await imports(customer).ListImportIssues(request, metadata=person.metadata)
    return list(answer.issues)


async def listed(
    customer: ServiceUnderTest, person: Person, filter_: str = ""
) -> dict[str, account_pb2.Account]:
    request = account_pb2.ListAccountsRequest(page_size=1000, filter=filter_)
    answer = await accounts(customer).ListAccounts(request, metadata=person.metadata)
    return {account.display_name: account for account in answer.accounts}


def counts(run: Import) -> tuple[int, int, int, int]:
    return run.created_count, run.updated_count, run.skipped_count, run.failed_count


async def test_columns_fixed_values_and_translations_become_an_account(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a row becomes the record that the mapping says, to the last field."""
    ada = await customer.person("customer.*")
    content = (
        b"Firm;Branch;Staff;Turnover;E-mail;partner;labels.tier;Country\n"
        b"Columns Ltd;technolgy;1,200;12.50;Info@Columns.example;Yes;gold;DE\n"
    )
    run = await run_import(
        customer,
        ada,
        content,
        Field(field="display_name", column="Firm"),
        Field(field="industry", column="Branch", translations={"technolgy": "technology"}),
        Field(field="employee_count", column="Staff"),
        Field(field="annual_revenue", column="Turnover"),
        Field(field="annual_revenue.currency_code", value="usd"),
        Field(field="emails.address", column="E-mail"),
        Field(field="emails.label", value="work"),
        Field(field="addresses.region_code", column="Country"),
        Field(field="kind", value="organisation"),
    )
    assert run.state == Import.SUCCEEDED, run.error_message
    assert counts(run) == (1, 0, 0, 0)
    assert run.warning_count == 0
    account = (await listed(customer, ada))["Columns Ltd"]
    assert account.industry == "technology"
    assert account.employee_count == 1200
    assert (account.annual_revenue.units, account.annual_revenue.nanos) == (12, 500_000_000)
    assert account.annual_revenue.currency_code == "USD"
    assert account.emails[0].address == "info@columns.example"
    assert account.emails[0].label == "work"
    assert account.addresses[0].region_code == "DE"
    assert account.partner is True
    assert account.labels == {"tier": "gold"}
    assert account.owner == account.creator == ada.name


async def test_a_bad_optional_value_is_left_out_and_a_missing_required_one_fails_the_row(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: every row ends as imported, imported with a warning, or failed with its reason."""
    ada = await customer.person("customer.*")
    content = (
        b"display_name,employee_count,website,founded_year\n"
        b"Warned Ltd,many,not a url,2001\n"
        b",5,,\n"
        b"Ragged Ltd,5\n"
        b"Old Ltd,,,12\n"
        b"Fine Ltd,3,https://fine.example,1999\n"
    )
    run = await run_import(customer, ada, content)
    assert run.state == Import.SUCCEEDED, run.error_message
    assert counts(run) == (3, 0, 0, 2)
    assert (run.total_rows, run.processed_rows, run.warning_count) == (5, 5, 2)
    found = [(i.row, i.field, i.reason, i.severity) for i in await issues(customer, ada, run)]
    warning, error = import_pb2.ImportIssue.WARNING, import_pb2.ImportIssue.ERROR
    assert found == [
        (2, "employee_count", "INVALID_VALUE", warning),
        (2, "website", "INVALID_FIELD", warning),
        (3, "display_name", "REQUIRED_FIELD", error),
        (4, "", "MALFORMED_ROW", error),
        (5, "founded_year", "INVALID_FIELD", warning),
    ]
    account = (await listed(customer, ada))["Warned Ltd"]
    assert account.founded_year == 2001
    assert not account.HasField("employee_count")


async def test_references_within_the_file_hold_in_any_order(customer: ServiceUnderTest) -> None:
    """INVARIANT: a reference means the same whether its row stands above or below; circles do not."""
    ada = await customer.person("customer.*")
    content = (
        b"name,parent\nChild A,Parent A\nParent A,\nGrandchild A,Child A\n"
        b"Round A,Round B\nRound B,Round A\nLost A,Nobody\n"
    )
    run = await run_import(
        customer,
        ada,
        content,
        Field(field="display_name", column="name"),
        Field(field="parent_account", column="parent", lookup="accounts.display_name"),
    )
    assert run.state == Import.SUCCEEDED, run.error_message
    assert counts(run) == (6, 0, 0, 0)
    found = await listed(customer, ada)
    assert found["Child A"].parent_account == found["Parent A"].name
    assert found["Grandchild A"].parent_account == found["Child A"].name
    round_trip = {found["Round A"].parent_account, found["Round B"].parent_account}
    assert "" in round_trip
    assert len(round_trip) == 2
    assert [(i.row, i.reason) for i in await issues(customer, ada, run)] == [
        (6, "CIRCLE"),
        (7, "REFERENCE_NOT_FOUND"),
    ]


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (Policy.SKIP, (1, 0, 2, 0)),
        (Policy.UPDATE, (1, 2, 0, 0)),
        (Policy.FAIL, (1, 0, 0, 2)),
        (Policy.CREATE, (1, 0, 0, 2)),  # an external id is there only once
    ],
)
async def test_duplicates_by_external_id_meet_the_policy(
    customer: ServiceUnderTest, policy: int, expected: tuple[int, int, int, int]
) -> None:
    """INVARIANT: a duplicate, of a record or of a row above, is dealt with as the policy says."""
    ada = await customer.person("customer.*")
    key = f"dup-{policy}"
    await run_import(customer, ada, f"external_id,display_name\n{key},First\n".encode())
    content = f"external_id,display_name\n{key},Second\n{key}-new,New {policy}\n{key}-new,Newer {policy}\n"
    run = await run_import(customer, ada, content.encode(), policy=policy)
    assert counts(run) == expected
    names = set(await listed(customer, ada, f'external_id = "{key}*"'))
    updated = policy == Policy.UPDATE
    assert names == {"Second" if updated else "First", f"{'Newer' if updated else 'New'} {policy}"}


async def test_duplicates_by_natural_key_may_be_created_on_purpose(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: without an external id the natural key tells; CREATE says that it does not."""
    ada = await customer.person("customer.*")
    content = b"display_name\nNatural Ltd\nNatural Ltd\n"
    assert counts(await run_import(customer, ada, content)) == (1, 0, 1, 0)
    run = await run_import(customer, ada, content, policy=Policy.CREATE)
    assert counts(run) == (2, 0, 0, 0)


async def test_two_people_of_one_name_are_two_contacts(customer: ServiceUnderTest) -> None:
    """INVARIANT: a name alone makes no duplicate of a person."""
    ada = await customer.person("customer.*")
    content = b"display_name\nJohn Smith\nJohn Smith\n"
    assert counts(await run_import(customer, ada, content, resource="contacts")) == (2, 0, 0, 0)


async def test_importing_twice_with_update_changes_nothing(customer: ServiceUnderTest) -> None:
    """INVARIANT: a record that stays as it is gets no new version and no event."""
    ada = await customer.person("customer.*")
    content = b"external_id,display_name,employee_count\ntwice-1,Twice Ltd,5\n"
    await run_import(customer, ada, content)
    run = await run_import(customer, ada, content, policy=Policy.UPDATE)
    assert counts(run) == (0, 0, 1, 0)
    account = (await listed(customer, ada))["Twice Ltd"]
    assert account.etag == '"1"'


async def test_validate_only_reports_as_if_and_changes_nothing(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a dry run counts like the real one, writes no record, and leaves the file for it."""
    ada = await customer.person("customer.*")
    content = b"display_name,employee_count\nDry Ltd,x\nDry Ltd,1\n,2\n"
    run = await run_import(customer, ada, content, validate_only=True)
    assert counts(run) == (1, 0, 1, 1)
    assert "Dry Ltd" not in await listed(customer, ada)
    wanted = Import(resource="accounts", upload=run.upload, duplicate_policy=Policy.SKIP)
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    real = await imports(customer).CreateImport(request, metadata=ada.metadata)
    assert counts(await ended(customer, ada, real)) == counts(run)


async def test_many_rows_publish_one_event_each_in_the_name_of_the_importer(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: an import's events name the import, the person, and that they were imported."""
    ada = await customer.person("customer.*")
    rows = "".join(f"m-{n},Many {n}\n" for n in range(1201))
    run = await run_import(customer, ada, f"external_id,display_name\n{rows}".encode())
    assert counts(run) == (1201, 0, 0, 0)
    account = (await listed(customer, ada, 'external_id = "m-600"'))["Many 600"]
    (event,) = await customer.events(account.name)
    assert event.routing_key == "customer.account.created"
    assert event.imported
    assert event.correlation_id == run.name
    assert event.actor == ada.name


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


async def test_an_import_brings_labels_and_loses_what_a_closed_list_lacks(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: the row is kept, without the value, and says so."""
    ada = await customer.person("customer.*")
    await customer.pick_list("industry", "oil_and_gas", "food", retired="steam")
    content = b"display_name,industry\nD1,Oil and gas\nD2,technolgy\nD3,food\nD4,steam\n"
    run = await run_import(customer, ada, content)
    assert counts(run) == (4, 0, 0, 0)
    found = await listed(customer, ada, 'display_name = "D*" AND industry:*')
    assert {name: one.industry for name, one in found.items() if len(name) == 2} == {
        "D1": "oil_and_gas", "D3": "food",
    }  # fmt: skip
    noted = {issue.row: issue.reason for issue in await issues(customer, ada, run)}
    assert sorted(noted.values()) == ["RETIRED_ENTRY", "UNKNOWN_ENTRY"]
    again = await run_import(customer, ada, content, policy=Policy.UPDATE)
    assert again.updated_count == 0
    await customer.settings()


async def test_several_columns_fill_several_items_of_a_list(customer: ServiceUnderTest) -> None:
    """INVARIANT: an empty cell leaves no gap, and a label is there only where its item is."""
    ada = await customer.person("customer.*")
    content = (
        b"display_name,mobile,office,fax,kind of fax\n"
        b"All Ltd,1,2,3,old\nLast Ltd,,,3,\nNone Ltd,,,,new\n"
    )
    run = await run_import(
        customer,
        ada,
        content,
        Field(field="phones.number", column="mobile"),
        Field(field="phones.label", value="mobile"),
        Field(field="phones[1].number", column="office"),
        Field(field="phones[1].label", value="work"),
        Field(field="phones[2].number", column="fax"),
        Field(field="phones[2].label", column="kind of fax"),
    )
    assert (counts(run), run.warning_count) == ((3, 0, 0, 0), 0)
    found = await listed(customer, ada)
    phones = {
        name: [(phone.number, phone.label) for phone in found[f"{name} Ltd"].phones]
        for name in ("All", "Last", "None")
    }
    assert phones == {
        "All": [("1", "mobile"), ("2", "work"), ("3", "old")],
        "Last": [("3", "")],
        "None": [],
    }
    twice = [Field(field=f"phones{n}.number", column="mobile") for n in ("", "[0]")]
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await started(customer, ada, content, *twice)
    assert details_of(caught.value)["fields"] == ["import.mappings[1].field"]


async def test_a_bad_part_of_a_list_costs_no_more_than_that_part(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: an address keeps its street where its country is none; a good e-mail survives a bad one."""
    ada = await customer.person("customer.*")
    content = (
        "display_name,Street,City,Country,emails\n"
        "Parts Ltd,Weg 1,Köln,Lummerland,a@parts.example; nonsense; b@parts.example\n"
        "Whole Ltd,Main St 1,Springfield,USA,\n"
    ).encode()
    run = await run_import(
        customer,
        ada,
        content,
        Field(field="addresses.address_lines", column="Street"),
        Field(field="addresses.locality", column="City"),
        Field(field="addresses.region_code", column="Country"),
    )
    assert (counts(run), run.warning_count) == ((2, 0, 0, 0), 1)
    assert [(i.row, i.field, i.reason) for i in await issues(customer, ada, run)] == [
        (2, "addresses.region_code", "INVALID_VALUE"),
        (2, "emails[1].address", "INVALID_FIELD"),
    ]
    found = await listed(customer, ada)
    (address,) = found["Parts Ltd"].addresses
    assert (list(address.address_lines), address.locality, address.region_code) == (
        ["Weg 1"],
        "Köln",
        "",
    )
    assert [e.address for e in found["Parts Ltd"].emails] == ["a@parts.example", "b@parts.example"]
    assert found["Whole Ltd"].addresses[0].region_code == "US"
