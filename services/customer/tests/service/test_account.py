"""Accounts over gRPC: what a client may rely on."""

from uuid import uuid4

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from google.type.money_pb2 import Money

from crm.customer.v1 import account_pb2, account_pb2_grpc
from crmkit.statements import compile_statement
from crmkit.testing.harness import ServiceUnderTest, details_of

Account = account_pb2.Account


def stub(customer: ServiceUnderTest) -> account_pb2_grpc.AccountServiceStub:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


async def test_an_account_comes_back_as_it_was_created(customer: ServiceUnderTest) -> None:
    """INVARIANT: what was acknowledged is what is read, to the last field."""
    ada = await customer.person("customer.*")
    sent = Account(
        display_name="Acme",
        industry="retail",
        employee_count=12,
        annual_revenue=Money(currency_code="EUR", units=1_000_000, nanos=500_000_000),
        emails=[{"address": "Info@Acme.example", "label": "work"}],
        addresses=[{"address_lines": ["Main St 1"], "locality": "Bonn", "region_code": "DE"}],
        labels={"tier": "gold"},
        external_id="A-1",
    )
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=sent), metadata=ada.metadata
    )
    assert created.owner == created.creator == ada.name
    assert created.kind == Account.ORGANISATION
    assert created.state == Account.PROSPECT
    assert created.emails[0].address == "info@acme.example"
    assert created.annual_revenue == sent.annual_revenue
    assert created.labels == sent.labels
    read = await stub(customer).GetAccount(
        account_pb2.GetAccountRequest(name=created.name), metadata=ada.metadata
    )
    assert read == created


async def test_creating_publishes_the_account_without_personal_data(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: events never hold personal data."""
    ada = await customer.person("customer.*")
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(
            account=Account(display_name="Jane Doe", kind=Account.PERSON, tax_id="DE1")
        ),
        metadata=ada.metadata,
    )
    (event,) = await customer.events(created.name)
    assert event.routing_key == "customer.account.created"
    published = event.message.account
    assert published.name == created.name
    assert not published.HasField("display_name")
    assert not published.HasField("tax_id")
    assert b"Jane" not in event.wire.payload


async def test_an_update_changes_the_named_fields_only(customer: ServiceUnderTest) -> None:
    """A mask clears what it names; without one the populated fields change."""
    ada = await customer.person("customer.*")
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(
            account=Account(display_name="A", industry="x", tax_id="1")
        ),
        metadata=ada.metadata,
    )
    changed = await stub(customer).UpdateAccount(
        account_pb2.UpdateAccountRequest(
            account=Account(name=created.name, display_name="B", etag=created.etag),
            update_mask=FieldMask(paths=["display_name", "industry"]),
        ),
        metadata=ada.metadata,
    )
    assert (changed.display_name, changed.HasField("industry"), changed.tax_id) == ("B", False, "1")
    assert changed.etag != created.etag
    created_event, updated = await customer.events(created.name, count=2)
    assert created_event.subject_version == 1
    assert list(updated.message.changed_fields) == ["display_name", "industry"]


async def test_an_update_that_changes_nothing_is_no_new_version_and_no_event(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a version and an event say that something happened."""
    ada = await customer.person("customer.*")
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=Account(display_name="A")), metadata=ada.metadata
    )
    for same in (Account(name=created.name), Account(name=created.name, display_name="A")):
        answered = await stub(customer).UpdateAccount(
            account_pb2.UpdateAccountRequest(account=same), metadata=ada.metadata
        )
        assert answered == created
    changed = await stub(customer).UpdateAccount(
        account_pb2.UpdateAccountRequest(account=Account(name=created.name, display_name="B")),
        metadata=ada.metadata,
    )
    events = await customer.events(created.name, count=2)
    assert [e.subject_version for e in events] == [1, 2]
    assert changed.etag != created.etag


async def test_a_stale_etag_is_refused_and_changes_nothing(customer: ServiceUnderTest) -> None:
    """INVARIANT: no update is lost."""
    ada = await customer.person("customer.*")
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=Account(display_name="A")), metadata=ada.metadata
    )
    for name, etag in (("B", created.etag), ("C", "")):
        await stub(customer).UpdateAccount(
            account_pb2.UpdateAccountRequest(
                account=Account(name=created.name, display_name=name, etag=etag)
            ),
            metadata=ada.metadata,
        )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).UpdateAccount(
            account_pb2.UpdateAccountRequest(
                account=Account(name=created.name, display_name="D", etag=created.etag)
            ),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.ABORTED
    assert details_of(refused.value)["reason"] == "ETAG_MISMATCH"


async def test_a_repeated_request_id_answers_the_first_result(customer: ServiceUnderTest) -> None:
    """INVARIANT: nothing takes effect twice; the same id with another body is refused."""
    ada = await customer.person("customer.*")
    request = account_pb2.CreateAccountRequest(
        account=Account(display_name="Once"), request_id=str(uuid4())
    )
    first = await stub(customer).CreateAccount(request, metadata=ada.metadata)
    assert await stub(customer).CreateAccount(request, metadata=ada.metadata) == first
    request.account.display_name = "Twice"
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).CreateAccount(request, metadata=ada.metadata)
    assert details_of(refused.value)["reason"] == "REQUEST_ID_REUSED"


async def test_a_list_pages_through_everything_once(customer: ServiceUnderTest) -> None:
    """Pages neither overlap nor leave anything out, whatever the order."""
    ada = await customer.person(("customer.*", "OWN"))
    for number in range(7):
        await stub(customer).CreateAccount(
            account_pb2.CreateAccountRequest(account=Account(display_name=f"P{number % 3}")),
            metadata=ada.metadata,
        )
    seen: list[str] = []
    token = ""
    while True:
        page = await stub(customer).ListAccounts(
            account_pb2.ListAccountsRequest(
                page_size=3, page_token=token, order_by="display_name desc"
            ),
            metadata=ada.metadata,
        )
        seen += [account.name for account in page.accounts]
        token = page.next_page_token
        if not token:
            break
    assert len(seen) == len(set(seen)) == 7


async def test_a_person_sees_own_records_only_under_scope_own(customer: ServiceUnderTest) -> None:
    """INVARIANT: a record out of scope is as if it were not there."""
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=Account(display_name="A")), metadata=ada.metadata
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).GetAccount(
            account_pb2.GetAccountRequest(name=created.name), metadata=bob.metadata
        )
    assert refused.value.code() == grpc.StatusCode.NOT_FOUND
    page = await stub(customer).ListAccounts(
        account_pb2.ListAccountsRequest(), metadata=bob.metadata
    )
    assert not page.accounts


async def test_a_deleted_account_is_found_but_not_listed_and_can_be_restored(
    customer: ServiceUnderTest,
) -> None:
    """Deleting is moving to the trash."""
    ada = await customer.person(("customer.*", "OWN"))
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=Account(display_name="A")), metadata=ada.metadata
    )
    deleted = await stub(customer).DeleteAccount(
        account_pb2.DeleteAccountRequest(name=created.name), metadata=ada.metadata
    )
    assert deleted.HasField("delete_time")
    listed = await stub(customer).ListAccounts(
        account_pb2.ListAccountsRequest(), metadata=ada.metadata
    )
    assert not listed.accounts
    trash = await stub(customer).ListAccounts(
        account_pb2.ListAccountsRequest(show_deleted=True), metadata=ada.metadata
    )
    assert [a.name for a in trash.accounts] == [created.name]
    restored = await stub(customer).UndeleteAccount(
        account_pb2.UndeleteAccountRequest(name=created.name), metadata=ada.metadata
    )
    assert not restored.HasField("delete_time")


@pytest.mark.parametrize(
    ("account", "field"),
    [
        (Account(), "account.display_name"),
        (Account(display_name="A", website="ftp://x"), "account.website"),
        (Account(display_name="A\x00"), "account.display_name"),
        (Account(display_name="A", parent_account="accounts/nonsense"), "account.parent_account"),
        (Account(display_name="A", parent_account=f"accounts/{uuid4()}"), "account.parent_account"),
        (Account(display_name="A", employee_count=-1), "account.employee_count"),
        (Account(display_name="x" * 301), "account.display_name"),
        (
            Account(display_name="A", annual_revenue=Money(currency_code="EUR", nanos=1)),
            "account.annual_revenue",
        ),
    ],
)
async def test_bad_input_names_the_field(
    customer: ServiceUnderTest, account: account_pb2.Account, field: str
) -> None:
    """Bad input gets a clear error that names the field, and changes nothing."""
    ada = await customer.person("customer.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).CreateAccount(
            account_pb2.CreateAccountRequest(account=account), metadata=ada.metadata
        )
    assert refused.value.code() in {
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.NOT_FOUND,
    }
    assert details_of(refused.value)["fields"] == [field]


async def test_without_a_token_or_a_permission_nothing_happens(customer: ServiceUnderTest) -> None:
    """INVARIANT: a denied call changes nothing."""
    bob = await customer.person("customer.accounts.get")
    request = account_pb2.CreateAccountRequest(account=Account(display_name="A"))
    with pytest.raises(grpc.aio.AioRpcError) as nobody:
        await stub(customer).CreateAccount(request)
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await stub(customer).CreateAccount(request, metadata=bob.metadata)
    assert nobody.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert denied.value.code() == grpc.StatusCode.PERMISSION_DENIED


async def test_a_call_that_runs_out_of_time_is_told_why_and_changes_nothing(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: every error has a reason; gRPC's own answer at the deadline would have none."""
    ada = await customer.person("customer.*")
    created = await stub(customer).CreateAccount(
        account_pb2.CreateAccountRequest(account=Account(display_name="A")), metadata=ada.metadata
    )
    held = sa.text("SELECT 1 FROM accounts WHERE id = CAST(:id AS uuid) FOR UPDATE")
    async with customer.database.transaction() as tx:
        await tx.fetch_one(compile_statement(held), {"id": created.uid})
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub(customer).UpdateAccount(
                account_pb2.UpdateAccountRequest(
                    account=Account(name=created.name, display_name="B")
                ),
                metadata=ada.metadata,
                timeout=1,
            )
    assert refused.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert details_of(refused.value)["reason"] == "DEADLINE_EXCEEDED"
    read = await stub(customer).GetAccount(
        account_pb2.GetAccountRequest(name=created.name), metadata=ada.metadata
    )
    assert read == created


async def test_a_value_is_kept_under_its_id_and_a_new_one_as_it_stands(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: an open list takes what it lacks, and never one value twice."""
    ada = await customer.person("customer.*")
    await customer.pick_list("industry", "oil_and_gas", open=True)
    written = {
        "Oil and gas": "oil_and_gas",
        "OIL_AND_GAS": "oil_and_gas",
        "Beekeeping": "Beekeeping",
    }
    for text, kept in written.items():
        account = Account(display_name="Derrick", industry=text)
        made = await stub(customer).CreateAccount(
            account_pb2.CreateAccountRequest(account=account), metadata=ada.metadata
        )
        assert made.industry == kept
    update = account_pb2.UpdateAccountRequest(
        account=Account(name=made.name, etag=made.etag, industry="beekeeping")
    )
    again = await stub(customer).UpdateAccount(update, metadata=ada.metadata)
    assert again.industry == "beekeeping"  # this service's list has not heard of it yet
    await customer.settings()
