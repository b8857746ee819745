"""Accounts over gRPC: numbers, grades, credit, identifiers of other systems, completeness."""

import re
from uuid import uuid4

import grpc
import pytest
from google.type.date_pb2 import Date
from google.type.money_pb2 import Money

from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import ServiceUnderTest, details_of

Account = account_pb2.Account


def stub(customer: ServiceUnderTest) -> account_pb2_grpc.AccountServiceStub:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


async def create(customer: ServiceUnderTest, who: object, **fields: object) -> account_pb2.Account:
    account = Account(**{"display_name": "Acme", **fields})
    request = account_pb2.CreateAccountRequest(account=account)
    created: account_pb2.Account = await stub(customer).CreateAccount(
        request, metadata=who.metadata
    )
    return created


async def names(
    customer: ServiceUnderTest, who: object, filter_: str, order: str = ""
) -> list[str]:
    request = account_pb2.ListAccountsRequest(filter=filter_, order_by=order)
    listed = await stub(customer).ListAccounts(request, metadata=who.metadata)
    return [account.display_name for account in listed.accounts]


async def test_every_account_has_a_number_by_the_organisations_pattern(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a number belongs to one account; it is not the caller's to choose."""
    ada = await customer.person("customer.*")
    first = await create(customer, ada, customer_number="MINE")
    assert re.fullmatch(r"C-\d{6}", first.customer_number)
    await customer.settings(number_patterns={"customer": "{year}/{month}/K{number}"})
    second = await create(customer, ada)
    made = first.create_time.ToDatetime()
    number = int(first.customer_number.removeprefix("C-")) + 1
    assert second.customer_number == f"{made:%Y/%m}/K{number}"
    found = await names(customer, ada, f'customer_number = "{second.customer_number}"')
    assert found == ["Acme"]
    await customer.settings()


async def test_an_account_is_graded_and_its_grade_is_told(customer: ServiceUnderTest) -> None:
    """The reason is for people who may read the account, not for other services."""
    ada = await customer.person("customer.*")
    created = await create(customer, ada)
    request = account_pb2.GradeAccountRequest(
        name=created.name, grade=Account.VIP, reason="Knows Zaphod", request_id=str(uuid4())
    )
    graded = await stub(customer).GradeAccount(request, metadata=ada.metadata)
    assert await stub(customer).GradeAccount(request, metadata=ada.metadata) == graded
    assert (graded.grade, graded.grade_source) == (Account.VIP, Account.GradeSource.MANUAL)
    assert graded.grade_reason == "Knows Zaphod"
    _, event = await customer.events(created.name, count=2)
    assert event.routing_key == "customer.account.graded"
    assert event.message.account.grade == Account.VIP
    assert event.message.previous_grade == Account.GRADE_UNSPECIFIED
    assert b"Zaphod" not in event.wire.payload
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).GradeAccount(
            account_pb2.GradeAccountRequest(
                name=created.name, grade=Account.A, source=Account.GradeSource.SCORE
            ),
            metadata=ada.metadata,
        )
    assert details_of(refused.value)["reason"] == "GRADED_BY_HAND"
    lower = account_pb2.GradeAccountRequest(name=created.name, grade=Account.B)
    await stub(customer).GradeAccount(lower, metadata=ada.metadata)
    *_, event = await customer.events(created.name, count=3)
    assert event.message.previous_grade == Account.VIP


async def test_credit_is_decided_as_a_whole_by_whom_the_right_is_given_by_name(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: `customer.*` does not let people give credit to their own customers."""
    ada = await customer.person("customer.*")
    cfo = await customer.person("customer.accounts.setCredit", "customer.accounts.get")
    created = await create(customer, ada)
    request = account_pb2.SetAccountCreditRequest(
        name=created.name,
        credit_class="B",
        credit_state=Account.WATCH,
        credit_limit=Money(currency_code="EUR", units=5000),
        credit_review_date=Date(year=2027, month=2, day=28),
        reason="Paid late twice",
    )
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await stub(customer).SetAccountCredit(request, metadata=ada.metadata)
    assert denied.value.code() == grpc.StatusCode.PERMISSION_DENIED
    decided = await stub(customer).SetAccountCredit(request, metadata=cfo.metadata)
    assert (decided.credit_class, decided.credit_state) == ("B", Account.WATCH)
    assert (decided.credit_limit, decided.credit_review_date) == (
        request.credit_limit,
        request.credit_review_date,
    )
    blocked = account_pb2.SetAccountCreditRequest(
        name=created.name, credit_state=Account.BLOCKED, reason="Insolvent"
    )
    decided = await stub(customer).SetAccountCredit(blocked, metadata=cfo.metadata)
    assert not decided.HasField("credit_limit")
    *_, event = await customer.events(created.name, count=3)
    assert event.routing_key == "customer.account.credit_changed"
    assert event.message.previous_credit_state == Account.WATCH
    assert event.message.account.credit_state == Account.BLOCKED
    assert await names(customer, ada, "credit_state = BLOCKED") == ["Acme"]
    assert b"Insolvent" not in event.wire.payload


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"reason": "x"}, "credit_state"),
        ({"credit_state": "OK"}, "reason"),
        ({"credit_state": "OK", "reason": " "}, "reason"),
        ({"credit_state": 99, "reason": "x"}, "credit_state"),
        ({"credit_state": "OK", "reason": "x\x00"}, "reason"),
        (
            {
                "credit_state": "OK",
                "reason": "x",
                "credit_limit": {"currency_code": "E", "units": 1},
            },
            "credit_limit.currency_code",
        ),
        (
            {
                "credit_state": "OK",
                "reason": "x",
                "credit_limit": {"currency_code": "EUR", "units": -1},
            },
            "credit_limit",
        ),
        (
            {
                "credit_state": "OK",
                "reason": "x",
                "credit_review_date": {"year": 2027, "month": 2, "day": 30},
            },
            "credit_review_date",
        ),
    ],
)
async def test_bad_credit_names_the_field(
    customer: ServiceUnderTest, fields: dict[str, object], field: str
) -> None:
    """Bad input gets a clear error that names the field."""
    cfo = await customer.person("customer.*", "customer.accounts.setCredit")
    created = await create(customer, cfo)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).SetAccountCredit(
            account_pb2.SetAccountCreditRequest(name=created.name, **fields), metadata=cfo.metadata
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [field]


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"grade": 99}, "grade"),
        ({"grade": "A", "source": 99}, "source"),
        ({"grade": "A", "reason": "\u202e"}, "reason"),
        ({"grade": "VIP", "source": "SCORE"}, "grade"),
    ],
)
async def test_a_bad_grade_names_the_field(
    customer: ServiceUnderTest, fields: dict[str, object], field: str
) -> None:
    """Bad input gets a clear error that names the field."""
    ada = await customer.person("customer.*")
    created = await create(customer, ada)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(customer).GradeAccount(
            account_pb2.GradeAccountRequest(name=created.name, **fields), metadata=ada.metadata
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [field]


async def test_a_record_is_found_by_what_another_system_calls_it(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: an identifier belongs to one record of its system, and outside of scope to none."""
    ada = await customer.person(("customer.*", "OWN"))
    bob = await customer.person(("customer.*", "OWN"))
    created = await create(customer, ada, external_ids={"erp": "1", "shop": "1"}, external_id="0")

    async def find(system: str, external_id: str, who: object = ada) -> str:
        request = account_pb2.LookupAccountByExternalIdRequest(
            system=system, external_id=external_id
        )
        found = await stub(customer).LookupAccountByExternalId(request, metadata=who.metadata)
        return str(found.name)

    assert await find("erp", "1") == await find("shop", "1") == await find("", "0") == created.name
    with pytest.raises(grpc.aio.AioRpcError) as taken:
        await create(customer, ada, external_ids={"erp": "1"})
    assert taken.value.code() == grpc.StatusCode.ALREADY_EXISTS
    assert details_of(taken.value)["fields"] == ["account.external_ids"]
    moved = account_pb2.UpdateAccountRequest(
        account=Account(name=created.name, external_ids={"erp": "2"})
    )
    await stub(customer).UpdateAccount(moved, metadata=ada.metadata)
    assert await find("erp", "2") == created.name
    for system, external_id, who in (("erp", "1", ada), ("shop", "1", ada), ("erp", "2", bob)):
        with pytest.raises(grpc.aio.AioRpcError) as absent:
            await find(system, external_id, who)
        assert absent.value.code() == grpc.StatusCode.NOT_FOUND
    freed = await create(customer, ada, external_ids={"erp": "1"})
    assert await find("erp", "1") == freed.name


async def test_a_contact_is_found_by_what_another_system_calls_it(
    customer: ServiceUnderTest,
) -> None:
    """Accounts and contacts have identifiers of their own."""
    ada = await customer.person("customer.*")
    await create(customer, ada, external_ids={"crm": "7"})
    contacts = contact_pb2_grpc.ContactServiceStub(customer.channel)
    contact = contact_pb2.Contact(display_name="Ada", external_ids={"crm": "7"})
    created = await contacts.CreateContact(
        contact_pb2.CreateContactRequest(contact=contact), metadata=ada.metadata
    )
    found = await contacts.LookupContactByExternalId(
        contact_pb2.LookupContactByExternalIdRequest(system="crm", external_id="7"),
        metadata=ada.metadata,
    )
    assert found == created


async def test_the_least_complete_records_are_found_first(customer: ServiceUnderTest) -> None:
    """What is missing can be asked for; a phone number that is none is missing."""
    ada = await customer.person(("customer.*", "OWN"))
    phones, emails = [{"number": "+49 30 12345678"}], [{"address": "a@b.example"}]
    await create(customer, ada, display_name="Full", phones=phones, emails=emails)
    await create(customer, ada, display_name="Poor", phones=[{"number": "ask the porter"}])
    await create(customer, ada, display_name="Fair", phones=phones)
    assert await names(customer, ada, "", "completeness") == ["Poor", "Fair", "Full"]
    assert await names(customer, ada, "completeness < 20") == ["Poor"]
    assert await names(customer, ada, 'missing_fields:"phones"') == ["Poor"]
    without = await names(customer, ada, 'NOT missing_fields:"emails"')
    assert without == ["Full"]


async def test_accounts_are_found_by_domain_and_interest(customer: ServiceUnderTest) -> None:
    """Lists of texts are asked for what they contain."""
    ada = await customer.person(("customer.*", "OWN"))
    await create(customer, ada, domains=["Acme.example"], interests=["Sailing", "sailing", " "])
    await create(customer, ada, display_name="Other")
    assert await names(customer, ada, 'domains:"acme.example"') == ["Acme"]
    assert await names(customer, ada, 'interests:"Sailing"') == ["Acme"]
    assert await names(customer, ada, "domains:*") == ["Acme"]
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await names(customer, ada, 'domains = "acme.example"')
    assert details_of(refused.value)["reason"] == "INVALID_FILTER"
