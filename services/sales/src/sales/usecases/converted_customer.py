"""What customer makes of a lead: an account and a contact, each once, however often it is asked for."""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

from crm.common.v1 import contact_point_pb2
from crm.customer.v1 import account_pb2, contact_pb2
from crmkit import contract
from crmkit.asking import ask
from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.field_codecs import Reference
from crmkit.jobs import is_transient
from crmkit.names import parse_name
from sales.domain.conversion import Conversion
from sales.domain.lead import Lead

_GONE = frozenset({"ALREADY_DELETED", "RECORD_NOT_FOUND"})


@dataclass(frozen=True)
class Made:
    """The account and the contact of a lead, made or found."""

    account: UUID
    contact: UUID | None

    def references(self) -> list[Reference]:
        """Both, as a lead refers to them."""
        contacts = [Reference("contacts", self.contact, "lead.contact")] if self.contact else []
        return [Reference("accounts", self.account, "lead.account"), *contacts]


class CustomerSide:
    """The steps of a conversion in the service customer; a repeat of each answers its first result."""

    def __init__(self, call: Call, lead: Lead, conversion: Conversion) -> None:
        """Takes work with the service's own rights, outside of a transaction."""
        self._call = call
        self._lead = lead
        self._conversion = conversion

    async def make(self) -> Made:
        """Account and contact, those that were asked for or new ones.

        Raises:
            Failure: What customer refused it for; Unavailable where it may be asked again.
        """
        account = self._conversion.account
        if account is None:
            return await self._new_account()
        return Made(account, self._conversion.contact or await self._new_contact(account))

    async def take_back(self) -> None:
        """Deletes what was made; asks for it once more first, to learn what there is."""
        if not (self._conversion.new_account or self._conversion.new_contact):
            return
        try:
            made = await self.make()
        except Failure as failure:
            if is_transient(failure):
                raise
            return  # each is made in one request, which was refused: there is nothing
        if self._conversion.new_contact and made.contact is not None:
            await self._delete("Contact", "contacts", made.contact)
        if self._conversion.new_account:
            await self._delete("Account", "accounts", made.account)

    def _says_who(self) -> bool:
        lead = self._lead
        return bool(lead.person or lead.emails or lead.phones or not lead.company)

    async def _new_account(self) -> Made:
        request = account_pb2.CreateAccountWithContactsRequest(
            account=self._account(),
            contacts=[self._contact()] if self._says_who() else [],
            request_id=self._conversion.step("account"),
        )
        made = await _ask(self._call, "AccountService", "CreateAccountWithContacts", request)
        contact = _id(made.contacts[0].name) if made.contacts else None
        return Made(_id(made.account.name), contact)

    async def _new_contact(self, account: UUID) -> UUID | None:
        if not self._says_who():
            return None
        contact = self._contact()
        contact.account = f"accounts/{account}"
        request = contact_pb2.CreateContactRequest(
            contact=contact, request_id=self._conversion.step("contact")
        )
        return _id((await _ask(self._call, "ContactService", "CreateContact", request)).name)

    def _account(self) -> account_pb2.Account:
        lead, kinds = self._lead, account_pb2.Account
        account = account_pb2.Account(
            kind=kinds.ORGANISATION if lead.company else kinds.PERSON,
            display_name=lead.company or lead.person or lead.display_name,
            website=lead.website if lead.company else None,
        )
        if lead.owner is not None:
            account.owner = f"users/{lead.owner}"
        return account

    def _contact(self) -> contact_pb2.Contact:
        lead = self._lead
        contact = contact_pb2.Contact(
            given_name=lead.given_name,
            family_name=lead.family_name,
            job_title=lead.job_title if lead.company else None,
            emails=[contact_point_pb2.EmailAddress(**asdict(email)) for email in lead.emails],
            phones=[
                contact_point_pb2.PhoneNumber(
                    **{**asdict(phone), "region_code": phone.region_code or lead.region_code}
                )
                for phone in lead.phones
            ],
        )
        if not (lead.person or lead.emails or lead.phones):
            contact.display_name = lead.display_name or ""
        if lead.owner is not None:
            contact.owner = f"users/{lead.owner}"
        return contact

    async def _delete(self, noun: str, collection: str, id_: UUID) -> None:
        module = {"Contact": contact_pb2, "Account": account_pb2}[noun]
        request = getattr(module, f"Delete{noun}Request")(name=f"{collection}/{id_}")
        try:
            await _ask(self._call, f"{noun}Service", f"Delete{noun}", request)
        except Failure as failure:
            if failure.reason not in _GONE:
                raise


async def account_of(call: Call, contact: UUID) -> UUID | None:
    """The account that a contact belongs to first, as the caller sees it; None if to none.

    Raises:
        NotFound: There is no such contact within the caller's scope.
    """
    request = contact_pb2.GetContactRequest(name=f"contacts/{contact}")
    found = await _ask(call, "ContactService", "GetContact", request)
    return _id(found.account) if found.account else None


async def _ask(call: Call, service: str, method: str, request: Any) -> Any:
    declared = contract.services()[f"crm.customer.v1.{service}"]
    found = next(m for m in contract.methods_of(declared) if m.name == method)
    return await ask(call, found, request)


def _id(name: str) -> UUID:
    collection = name.partition("/")[0]
    return parse_name(name, collection=collection, field="name")
