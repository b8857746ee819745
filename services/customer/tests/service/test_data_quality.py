"""Data quality over gRPC: the worklist of what to repair, and whose value of a field stands."""

from typing import Any
from uuid import uuid4

import grpc
import pytest

from crm.common.v1 import import_pb2
from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

from .imports import Field, Import, counts, imports, issues, run_import, sent
from .imports import ended as import_ended

Account, Contact = account_pb2.Account, contact_pb2.Contact
GOOD = {
    "emails": [{"address": "a@good.example"}],
    "phones": [{"number": "+49 30 12345678"}],
    "addresses": [{"locality": "Berlin", "region_code": "DE"}],
}


def accounts(customer: ServiceUnderTest) -> account_pb2_grpc.AccountServiceStub:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def create(customer: ServiceUnderTest, person: Person, name: str, **fields: Any) -> Account:
    request = account_pb2.CreateAccountRequest(account=Account(display_name=name, **fields))
    return await accounts(customer).CreateAccount(request, metadata=person.metadata)


async def update(
    customer: ServiceUnderTest, person: Person, name: str, *, source: str = "", **fields: Any
) -> Account:
    request = account_pb2.UpdateAccountRequest(account=Account(name=name, **fields))
    said = [("x-source", source)] if source else []
    return await accounts(customer).UpdateAccount(request, metadata=[*person.metadata, *said])


async def found(customer: ServiceUnderTest, person: Person, filter_: str) -> list[str]:
    request = account_pb2.ListAccountsRequest(filter=filter_, order_by="display_name")
    page = await accounts(customer).ListAccounts(request, metadata=person.metadata)
    return [account.display_name for account in page.accounts]


async def imported(
    customer: ServiceUnderTest, person: Person, content: str, source: str = "", **fields: Any
) -> Import:
    """An import that changes what is there."""
    upload = await sent(customer, person, content.encode())
    wanted = Import(
        resource="accounts",
        upload=upload.name,
        duplicate_policy=Import.UPDATE,
        mappings=[Field(field="phones.number", column="phone")] if "phone" in content else [],
        source=source,
        **fields,
    )
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    run = await imports(customer).CreateImport(request, metadata=person.metadata)
    return await import_ended(customer, person, run)


async def test_what_is_to_be_repaired_is_found_and_gone_once_it_is_repaired(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: the list says what a person would find, at each write, and nothing of what is well."""
    ada = await customer.person(("customer.*", "OWN"))
    await create(customer, ada, "Good", **GOOD)
    await create(customer, ada, "Silent")
    await create(customer, ada, "Typo", **(GOOD | {"phones": [{"number": "ask the porter"}]}))
    await create(
        customer,
        ada,
        "Bounced",
        **(GOOD | {"emails": [{"address": "x@y.example", "bounced": True}]}),
    )
    nowhere = await create(
        customer, ada, "Nowhere", **(GOOD | {"addresses": [{"locality": "Bonn"}]})
    )
    for issue, names in {
        "NO_EMAIL_OR_PHONE": ["Silent"],
        "UNVERIFIABLE_PHONE": ["Typo"],
        "BOUNCED_EMAIL": ["Bounced"],
        "ADDRESS_WITHOUT_COUNTRY": ["Nowhere"],
        "NO_OWNER": [],
    }.items():
        assert await found(customer, ada, f'quality_issues:"{issue}"') == names, issue
    everything = await found(customer, ada, "quality_issues:*")
    assert everything == ["Bounced", "Nowhere", "Silent", "Typo"]
    mended = await update(customer, ada, nowhere.name, addresses=GOOD["addresses"])
    assert list(mended.quality_issues) == []
    assert await found(customer, ada, 'quality_issues:"ADDRESS_WITHOUT_COUNTRY"') == []


async def test_a_record_of_nobody_is_on_the_list(customer: ServiceUnderTest) -> None:
    """INVARIANT: also after a change that takes the owner away."""
    ada = await customer.person("customer.*")
    mine = await create(customer, ada, "Mine", **GOOD)
    request = account_pb2.UpdateAccountRequest(account=Account(name=mine.name))
    request.update_mask.paths.append("owner")
    nobodys = await accounts(customer).UpdateAccount(request, metadata=ada.metadata)
    assert list(nobodys.quality_issues) == ["NO_OWNER"]


async def test_a_shared_address_is_a_hint_where_the_organisation_wants_it(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: never an error; whoever gets the address of another is hinted at, and no longer after."""
    ada = await customer.person("customer.*")

    async def person(name: str, address: str) -> Contact:
        made = Contact(display_name=name, emails=[{"address": address}])
        request = contact_pb2.CreateContactRequest(contact=made)
        return await contacts(customer).CreateContact(request, metadata=ada.metadata)

    await person("Mr. Miller", "millers@home.example")
    assert not (await person("Mrs. Miller", "millers@home.example")).quality_issues
    await customer.settings(shared_email_policy="HINTED")
    try:
        child = await person("Child Miller", "Millers@home.example")
        assert list(child.quality_issues) == ["SHARED_EMAIL"]
        assert not (await person("Alone", "alone@home.example")).quality_issues
        child.emails[0].address = "own@home.example"
        request = contact_pb2.UpdateContactRequest(contact=child)
        changed = await contacts(customer).UpdateContact(request, metadata=ada.metadata)
        assert not changed.quality_issues
    finally:
        await customer.settings()


# -- whose value stands


async def test_without_a_setting_the_last_one_wins_as_ever(customer: ServiceUnderTest) -> None:
    """INVARIANT: nothing changes for who has set nothing; a named source is noted all the same."""
    ada = await customer.person("customer.*")
    id_ = f"{uuid4()}"
    await imported(customer, ada, f"external_id,display_name,industry\n{id_},Old,steel\n")
    await imported(customer, ada, f"external_id,display_name,industry\n{id_},New,wood\n", "sap")
    request = account_pb2.ListAccountsRequest(filter=f'external_id = "{id_}"')
    (account,) = (await accounts(customer).ListAccounts(request, metadata=ada.metadata)).accounts
    assert (account.display_name, account.industry) == ("New", "wood")
    assert dict(account.field_sources) == {"display_name": "sap", "industry": "sap"}
    typed = await update(customer, ada, account.name, industry="glass")
    assert dict(typed.field_sources) == {"display_name": "sap"}


async def test_a_nightly_import_does_not_overwrite_what_a_person_typed(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a field keeps the value of the source that the organisation lets stand; the row says so."""
    ada = await customer.person("customer.*")
    await customer.settings(source_precedence={"accounts.*": "user > sap > import"})
    try:
        id_ = f"{uuid4()}"
        header = "external_id,display_name,industry,phone\n"
        first = await imported(customer, ada, f"{header}{id_},Acme,steel,+493012345678\n", "sap")
        assert counts(first) == (1, 0, 0, 0)
        request = account_pb2.ListAccountsRequest(filter=f'external_id = "{id_}"')
        (account,) = (
            await accounts(customer).ListAccounts(request, metadata=ada.metadata)
        ).accounts
        await update(customer, ada, account.name, phones=[{"number": "+49 40 7654321"}])
        row = f"{header}{id_},Acme,wood,+493012345678\n"
        dry = await imported(customer, ada, row, "sap", validate_only=True)
        night = await imported(customer, ada, row, "sap")
        for run in (dry, night):
            assert (counts(run), run.warning_count) == ((0, 1, 0, 0), 1)
            (issue,) = await issues(customer, ada, run)
            assert (issue.row, issue.field, issue.reason) == (2, "phones", "SOURCE_OUTRANKED")
        (now,) = (await accounts(customer).ListAccounts(request, metadata=ada.metadata)).accounts
        assert (now.industry, now.phones[0].number) == ("wood", "+49407654321")
        assert now.field_sources["industry"] == "sap"
        assert "phones" not in now.field_sources
        by_hand = await imported(
            customer, ada, f"external_id,display_name,industry\n{id_},Acme,glass\n"
        )
        assert [i.reason for i in await issues(customer, ada, by_hand)] == ["SOURCE_OUTRANKED"]
        await update(customer, ada, account.name, industry="paper")  # a person may
    finally:
        await customer.settings()


async def test_a_system_that_is_outranked_is_refused_and_told_by_whom(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: an integration names itself by `x-source`; the field and the source are named."""
    ada = await customer.person("customer.*")
    order = {"accounts.tax_id": "sap > user", "accounts.industry": "user"}
    await customer.settings(source_precedence=order)
    try:
        account = await create(customer, ada, "Acme")
        await update(customer, ada, account.name, source="sap", tax_id="DE1")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await update(customer, ada, account.name, tax_id="DE2")
        assert refused.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        details = details_of(refused.value)
        assert (details["reason"], details["fields"]) == ("SOURCE_OUTRANKED", ["account.tax_id"])
        assert details["metadata"]["source"] == "sap"
        same = await update(customer, ada, account.name, tax_id="DE1", legal_name="Acme Ltd")
        assert same.legal_name == "Acme Ltd"  # who sends the same value changes nothing
        await update(customer, ada, account.name, industry="steel")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await update(customer, ada, account.name, source="shop", industry="wood")
        assert details_of(refused.value)["fields"] == ["account.industry"]
        again = await update(customer, ada, account.name, source="sap", tax_id="DE3")
        assert again.tax_id == "DE3"
    finally:
        await customer.settings()


async def test_a_source_that_is_no_name_is_refused(customer: ServiceUnderTest) -> None:
    ada = await customer.person("customer.*")
    upload = await sent(customer, ada, b"display_name\nx\n")
    wanted = Import(resource="accounts", upload=upload.name, source="my > own")
    request = import_pb2.CreateImportRequest(**{"import": wanted})
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await imports(customer).CreateImport(request, metadata=ada.metadata)
    assert details_of(refused.value)["fields"] == ["import.source"]


async def test_an_import_of_the_usual_kind_is_not_in_the_way(customer: ServiceUnderTest) -> None:
    """INVARIANT: records of imports without a name hold no sources while nobody ranks them."""
    ada = await customer.person(("customer.*", "OWN"))
    await run_import(customer, ada, b"display_name\nPlain Ltd\n")
    request = account_pb2.ListAccountsRequest()
    (account,) = (await accounts(customer).ListAccounts(request, metadata=ada.metadata)).accounts
    assert not account.field_sources
