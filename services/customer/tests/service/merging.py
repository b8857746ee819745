"""What tests of merges do with the service."""

from types import SimpleNamespace
from typing import Any

from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    appointment_pb2_grpc,
    consent_pb2_grpc,
    contact_pb2,
    contact_pb2_grpc,
    interaction_pb2_grpc,
    merge_record_pb2,
    merge_record_pb2_grpc,
    task_pb2_grpc,
)
from crmkit.testing.harness import Person, ServiceUnderTest, details_of

Account, Contact, MergeRecord = (
    account_pb2.Account,
    contact_pb2.Contact,
    merge_record_pb2.MergeRecord,
)
Choice = merge_record_pb2.FieldChoice


class As:
    """What somebody does with the service."""

    def __init__(self, customer: ServiceUnderTest, who: Person) -> None:
        self.who = who
        at = customer.channel
        self.accounts = account_pb2_grpc.AccountServiceStub(at)
        self.contacts = contact_pb2_grpc.ContactServiceStub(at)
        self.tasks = task_pb2_grpc.TaskServiceStub(at)
        self.interactions = interaction_pb2_grpc.InteractionServiceStub(at)
        self.appointments = appointment_pb2_grpc.AppointmentServiceStub(at)
        self.consents = consent_pb2_grpc.ConsentServiceStub(at)
        self.records = merge_record_pb2_grpc.MergeRecordServiceStub(at)

    async def do(self, method: Any, request: Any) -> Any:
        return await method(request, metadata=self.who.metadata)

    async def account(self, display_name: str = "Acme", **fields: Any) -> Any:
        account = Account(display_name=display_name, **fields)
        request = account_pb2.CreateAccountRequest(account=account)
        return await self.do(self.accounts.CreateAccount, request)

    async def contact(self, display_name: str = "Ada", **fields: Any) -> Any:
        contact = Contact(display_name=display_name, **fields)
        request = contact_pb2.CreateContactRequest(contact=contact)
        return await self.do(self.contacts.CreateContact, request)

    async def get(self, record: Any) -> Any:
        name = record if isinstance(record, str) else record.name
        if name.startswith("accounts/"):
            request = account_pb2.GetAccountRequest(name=name)
            return await self.do(self.accounts.GetAccount, request)
        return await self.do(self.contacts.GetContact, contact_pb2.GetContactRequest(name=name))

    async def merge(self, survivor: Any, *losers: Any, **more: Any) -> Any:
        names = [loser if isinstance(loser, str) else loser.name for loser in losers]
        if survivor.name.startswith("accounts/"):
            request: Any = account_pb2.MergeAccountsRequest
            method: Any = self.accounts.MergeAccounts
        else:
            request, method = contact_pb2.MergeContactsRequest, self.contacts.MergeContacts
        return await self.do(method, request(name=survivor.name, losers=names, **more))

    async def unmerge(self, survivor: Any, **more: Any) -> Any:
        if survivor.name.startswith("accounts/"):
            request = account_pb2.UnmergeAccountsRequest(name=survivor.name, **more)
            return await self.do(self.accounts.UnmergeAccounts, request)
        request = contact_pb2.UnmergeContactsRequest(name=survivor.name, **more)
        return await self.do(self.contacts.UnmergeContacts, request)

    async def list_accounts(self, filter_: str = "", *, show_deleted: bool = False) -> list[Any]:
        request = account_pb2.ListAccountsRequest(filter=filter_, show_deleted=show_deleted)
        return list((await self.do(self.accounts.ListAccounts, request)).accounts)


async def clerk(customer: ServiceUnderTest, *grants: Any) -> As:
    return As(customer, await customer.person(*(grants or ("customer.*",))))


def details(refused: Any) -> SimpleNamespace:
    found = details_of(refused.value)
    return SimpleNamespace(code=refused.value.code(), **found)


def without_version(record: Any) -> Any:
    """A record but for what every version changes."""
    copy = type(record)()
    copy.CopyFrom(record)
    copy.ClearField("etag")
    copy.ClearField("update_time")
    return copy
