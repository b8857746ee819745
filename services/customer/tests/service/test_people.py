"""Accounts and contacts over gRPC, where one changes the other."""

import asyncio
from uuid import uuid4

import grpc
import pytest

from crm.customer.v1 import account_pb2, account_pb2_grpc, contact_pb2, contact_pb2_grpc
from crmkit.testing.harness import ServiceUnderTest, details_of

Account, Contact = account_pb2.Account, contact_pb2.Contact


def accounts(customer: ServiceUnderTest) -> account_pb2_grpc.AccountServiceStub:
    return account_pb2_grpc.AccountServiceStub(customer.channel)


def contacts(customer: ServiceUnderTest) -> contact_pb2_grpc.ContactServiceStub:
    return contact_pb2_grpc.ContactServiceStub(customer.channel)


async def create(customer: ServiceUnderTest, who: object, **fields: object) -> account_pb2.Account:
    request = account_pb2.CreateAccountRequest(account=Account(**fields))
    created: account_pb2.Account = await accounts(customer).CreateAccount(
        request, metadata=who.metadata
    )
    return created


async def found(customer: ServiceUnderTest, who: object, filter_: str) -> list[contact_pb2.Contact]:
    request = contact_pb2.ListContactsRequest(filter=filter_, show_deleted=True)
    listed = await contacts(customer).ListContacts(request, metadata=who.metadata)
    return list(listed.contacts)


async def person_of(
    customer: ServiceUnderTest, who: object, account: account_pb2.Account
) -> contact_pb2.Contact:
    """INVARIANT: a private person has exactly one contact."""
    (contact,) = await found(customer, who, f'person_account = "{account.name}"')
    return contact


async def test_a_private_person_and_their_contact_are_kept_in_step(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: what is changed of one shows in the other, both ways."""
    ada = await customer.person("customer.*")
    emails = [{"address": "zhang@example.cn"}]
    account = await create(
        customer, ada, display_name="张三", kind=Account.PERSON, emails=emails, language_code="zh"
    )
    contact = await person_of(customer, ada, account)
    assert contact.account == account.name
    assert (contact.display_name, contact.language_code) == ("张三", "zh")
    assert contact.emails == account.emails
    await accounts(customer).UpdateAccount(
        account_pb2.UpdateAccountRequest(
            account=Account(name=account.name, phones=[{"number": "+86 21 62345678"}])
        ),
        metadata=ada.metadata,
    )
    contact = await person_of(customer, ada, account)
    assert contact.phones[0].number == "+862162345678"
    await contacts(customer).UpdateContact(
        contact_pb2.UpdateContactRequest(contact=Contact(name=contact.name, display_name="张三丰")),
        metadata=ada.metadata,
    )
    read = await accounts(customer).GetAccount(
        account_pb2.GetAccountRequest(name=account.name), metadata=ada.metadata
    )
    assert (read.display_name, read.sort_name) == ("张三丰", "zhang san feng")
    assert (await person_of(customer, ada, account)).phones == contact.phones


async def test_a_private_person_is_deleted_and_restored_as_one(customer: ServiceUnderTest) -> None:
    """Whichever of the two is deleted, both are in the trash; and back."""
    ada = await customer.person("customer.*")
    account = await create(customer, ada, display_name="Jane", kind=Account.PERSON)
    contact = await person_of(customer, ada, account)
    await accounts(customer).DeleteAccount(
        account_pb2.DeleteAccountRequest(name=account.name), metadata=ada.metadata
    )
    assert (await person_of(customer, ada, account)).HasField("delete_time")
    await contacts(customer).UndeleteContact(
        contact_pb2.UndeleteContactRequest(name=contact.name), metadata=ada.metadata
    )
    read = await accounts(customer).GetAccount(
        account_pb2.GetAccountRequest(name=account.name), metadata=ada.metadata
    )
    assert not read.HasField("delete_time")
    kinds = [e.routing_key for e in await customer.events(account.name, count=3)]
    assert kinds == [f"customer.account.{kind}" for kind in ("created", "deleted", "undeleted")]
    kinds = [e.routing_key for e in await customer.events(contact.name, count=3)]
    assert kinds == [f"customer.contact.{kind}" for kind in ("created", "deleted", "undeleted")]


async def test_a_private_person_is_purged_contact_first(customer: ServiceUnderTest) -> None:
    """The contact refers to the account, so it goes before it."""
    ada = await customer.person("customer.*", "customer.accounts.purge", "customer.contacts.purge")
    account = await create(customer, ada, display_name="Jane", kind=Account.PERSON)
    contact = await person_of(customer, ada, account)
    await contacts(customer).DeleteContact(
        contact_pb2.DeleteContactRequest(name=contact.name), metadata=ada.metadata
    )
    purge = account_pb2.PurgeAccountRequest(name=account.name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await accounts(customer).PurgeAccount(purge, metadata=ada.metadata)
    assert details_of(refused.value)["reason"] == "STILL_REFERENCED"
    await contacts(customer).PurgeContact(
        contact_pb2.PurgeContactRequest(name=contact.name), metadata=ada.metadata
    )
    await accounts(customer).PurgeAccount(purge, metadata=ada.metadata)


async def test_changes_on_both_sides_at_once_end_well_or_are_to_be_repeated(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: account and contact are the same afterwards, whoever came first."""
    ada = await customer.person("customer.*")
    account = await create(customer, ada, display_name="Jane", kind=Account.PERSON)
    contact = await person_of(customer, ada, account)

    async def rename(number: int) -> None:
        name = f"Jane {number}"
        try:
            if number % 2:
                update = account_pb2.UpdateAccountRequest(
                    account=Account(name=account.name, display_name=name)
                )
                await accounts(customer).UpdateAccount(update, metadata=ada.metadata)
            else:
                change = contact_pb2.UpdateContactRequest(
                    contact=Contact(name=contact.name, display_name=name)
                )
                await contacts(customer).UpdateContact(change, metadata=ada.metadata)
        except grpc.aio.AioRpcError as error:
            assert error.code() == grpc.StatusCode.ABORTED  # noqa: PT017 - others may go through

    await asyncio.gather(*map(rename, range(6)))
    read = await accounts(customer).GetAccount(
        account_pb2.GetAccountRequest(name=account.name), metadata=ada.metadata
    )
    assert read.display_name == (await person_of(customer, ada, account)).display_name != "Jane"


async def test_an_organisation_that_turns_out_to_be_a_person_gets_a_contact(
    customer: ServiceUnderTest,
) -> None:
    """And the contact becomes an ordinary one on the way back."""
    ada = await customer.person("customer.*")
    account = await create(customer, ada, display_name="Jane Doe")
    for kind, count in ((Account.PERSON, 1), (Account.ORGANISATION, 0)):
        await accounts(customer).UpdateAccount(
            account_pb2.UpdateAccountRequest(account=Account(name=account.name, kind=kind)),
            metadata=ada.metadata,
        )
        assert len(await found(customer, ada, f'person_account = "{account.name}"')) == count
    assert len(await found(customer, ada, f'account = "{account.name}"')) == 1


async def test_an_account_and_its_contacts_are_created_together_once(
    customer: ServiceUnderTest,
) -> None:
    """INVARIANT: a repeat with the same id makes nothing new."""
    ada = await customer.person(("customer.*", "OWN"))
    request = account_pb2.CreateAccountWithContactsRequest(
        account=Account(display_name="Acme"),
        contacts=[Contact(given_name="Ada", family_name="King"), Contact(display_name="Bob")],
        request_id=str(uuid4()),
    )
    created = await accounts(customer).CreateAccountWithContacts(request, metadata=ada.metadata)
    again = await accounts(customer).CreateAccountWithContacts(request, metadata=ada.metadata)
    assert again == created
    assert [c.display_name for c in created.contacts] == ["Ada King", "Bob"]
    assert {c.account for c in created.contacts} == {created.account.name}
    listed = await found(customer, ada, f'accounts.account = "{created.account.name}"')
    assert {c.name for c in listed} == {c.name for c in created.contacts}


async def test_a_person_created_with_a_contact_is_that_contact(customer: ServiceUnderTest) -> None:
    """What only the contact says is said of the account, too."""
    ada = await customer.person(("customer.*", "OWN"))
    created = await accounts(customer).CreateAccountWithContacts(
        account_pb2.CreateAccountWithContactsRequest(
            account=Account(display_name="张三", kind=Account.PERSON),
            contacts=[
                Contact(given_name="三", family_name="张", phones=[{"number": "+86 21 62345678"}])
            ],
        ),
        metadata=ada.metadata,
    )
    (contact,) = created.contacts
    assert contact.person_account == created.account.name
    assert (contact.display_name, contact.family_name) == ("张三", "张")
    assert created.account.phones[0].number == "+862162345678"
    assert await person_of(customer, ada, created.account) == contact


@pytest.mark.parametrize(
    ("kind", "given", "fields", "reason"),
    [
        (
            "ORGANISATION",
            [{"display_name": "A"}, {}],
            ["contacts[1].display_name"],
            "REQUIRED_FIELD",
        ),
        (
            "ORGANISATION",
            [{"display_name": "A", "account": f"accounts/{uuid4()}"}],
            ["contacts[0].account"],
            "ANOTHER_ACCOUNT",
        ),
        ("PERSON", [{"display_name": "A"}, {"display_name": "B"}], ["contacts[1]"], "ONE_CONTACT"),
        (
            "PERSON",
            [{"display_name": "A", "addresses": [{"region_code": "1x"}]}],
            ["account.addresses[0].region_code"],
            "INVALID_FIELD",
        ),
    ],
)
async def test_all_are_created_or_none(
    customer: ServiceUnderTest,
    kind: str,
    given: list[dict[str, object]],
    fields: list[str],
    reason: str,
) -> None:
    """INVARIANT: a refused contact leaves no account behind; its field is named."""
    ada = await customer.person(("customer.*", "OWN"))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await accounts(customer).CreateAccountWithContacts(
            account_pb2.CreateAccountWithContactsRequest(
                account=Account(display_name="Acme", kind=kind),
                contacts=[Contact(**c) for c in given],
            ),
            metadata=ada.metadata,
        )
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == fields
    assert details_of(refused.value)["reason"] == reason
    listed = await accounts(customer).ListAccounts(
        account_pb2.ListAccountsRequest(), metadata=ada.metadata
    )
    assert not listed.accounts
    assert not await found(customer, ada, "")


async def test_contacts_need_their_own_permission(customer: ServiceUnderTest) -> None:
    """INVARIANT: a denied call changes nothing."""
    bob = await customer.person("customer.accounts.create", "customer.accounts.list")
    with pytest.raises(grpc.aio.AioRpcError) as denied:
        await accounts(customer).CreateAccountWithContacts(
            account_pb2.CreateAccountWithContactsRequest(
                account=Account(display_name="Denied"), contacts=[Contact(display_name="A")]
            ),
            metadata=bob.metadata,
        )
    assert denied.value.code() == grpc.StatusCode.PERMISSION_DENIED
    listing = account_pb2.ListAccountsRequest(filter='display_name = "Denied"')
    listed = await accounts(customer).ListAccounts(listing, metadata=bob.metadata)
    assert not listed.accounts


async def test_an_account_is_transferred_with_the_contacts_of_its_owner(
    customer: ServiceUnderTest,
) -> None:
    """Others' contacts there stay with them."""
    ada = await customer.person("customer.*")
    bob = await customer.person("customer.*")
    eve = await customer.person("customer.*")
    created = await accounts(customer).CreateAccountWithContacts(
        account_pb2.CreateAccountWithContactsRequest(
            account=Account(display_name="Acme"),
            contacts=[Contact(display_name="Mine"), Contact(display_name="Eve's", owner=eve.name)],
        ),
        metadata=ada.metadata,
    )
    request = account_pb2.TransferAccountRequest(
        name=created.account.name, owner=bob.name, etag=created.account.etag
    )
    transferred = await accounts(customer).TransferAccount(request, metadata=ada.metadata)
    assert transferred.owner == bob.name
    owners = {
        c.display_name: c.owner
        for c in await found(customer, ada, f'account = "{created.account.name}"')
    }
    assert owners == {"Mine": bob.name, "Eve's": eve.name}
    _, event = await customer.events(created.account.name, count=2)
    assert event.routing_key == "customer.account.transferred"
    assert event.message.previous_owner == ada.name
    assert list(event.message.changed_fields) == ["owner"]  # by it new owners are told
    assert event.message.account.owner == bob.name
    request = account_pb2.TransferAccountRequest(
        name=created.account.name, owner=ada.name, without_contacts=True
    )
    await accounts(customer).TransferAccount(request, metadata=ada.metadata)
    assert (await found(customer, ada, 'display_name = "Mine"'))[0].owner == bob.name


@pytest.mark.parametrize(
    ("owner", "code"),
    [
        ("users/nonsense", grpc.StatusCode.INVALID_ARGUMENT),
        (f"users/{uuid4()}", grpc.StatusCode.NOT_FOUND),
        ("", grpc.StatusCode.INVALID_ARGUMENT),
    ],
)
async def test_an_owner_that_is_none_is_refused(
    customer: ServiceUnderTest, owner: str, code: grpc.StatusCode
) -> None:
    """The field at fault is named."""
    ada = await customer.person("customer.*")
    account = await create(customer, ada, display_name="Acme")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await accounts(customer).TransferAccount(
            account_pb2.TransferAccountRequest(name=account.name, owner=owner),
            metadata=ada.metadata,
        )
    assert refused.value.code() == code
    assert details_of(refused.value)["fields"] == ["owner"]
