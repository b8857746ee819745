"""Imports over gRPC: what becomes of the rows of a file."""

import grpc
import pytest

from crm.common.v1 import import_pb2
from crmkit.testing.harness import ServiceUnderTest, details_of

from .imports import (
    Field,
    Import,
    Policy,
    counts,
    ended,
    imports,
    issues,
    listed,
    run_import,
    started,
)


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
