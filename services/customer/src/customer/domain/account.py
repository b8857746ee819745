"""Accounts: the organisations and persons we deal with."""

from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.money import Money
from customer.domain.names import firm_key, person_key
from customer.domain.phones import normalise_phones
from customer.domain.values import (
    Address,
    EmailAddress,
    PhoneNumber,
    normalise_addresses,
    normalise_emails,
)


@dataclass(kw_only=True)
class Account(Record):
    """An organisation or a private person we deal with."""

    derived = frozenset({"sort_name"})
    display_name: str
    legal_name: str | None = None
    kind: str = "ORGANISATION"
    state: str = "PROSPECT"
    partner: bool | None = None
    parent_account: UUID | None = None
    industry: str | None = None
    founded_year: int | None = None
    employee_count: int | None = None
    annual_revenue: Money | None = None
    website: str | None = None
    tax_id: str | None = None
    emails: list[EmailAddress] = field(default_factory=list)
    phones: list[PhoneNumber] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    sort_name: str | None = None

    def check(self) -> None:
        """Normalises addresses and numbers and makes the name that is sorted by.

        Raises:
            InvalidArgument: The account is its own parent, or its website is no web address.
        """
        normalise_emails(self.emails, "account.emails")
        normalise_addresses(self.addresses, "account.addresses")
        normalise_phones(self.phones, self.addresses, "account.phones")
        person = self.kind == "PERSON"
        name = self.display_name
        self.sort_name = person_key(name, None, None) if person else firm_key(name)
        if self.parent_account == self.id:
            msg = "An account cannot belong to itself."
            raise InvalidArgument(msg, field="account.parent_account")
        if self.website is not None and not _is_web_address(self.website):
            msg = "The website must be an http or https address."
            raise InvalidArgument(msg, field="account.website")

    def buy(self, time: datetime) -> bool:
        """Becomes a customer with the first purchase; False if it is one already."""
        if self.state == "CUSTOMER":
            return False
        self.state = "CUSTOMER"
        self.record("won", effective_time=time)
        return True


def _is_web_address(text: str) -> bool:
    try:
        parts = urlsplit(text)
        _ = parts.port  # raises where it is none
    except ValueError:
        return False
    in_one_piece = not any(character.isspace() for character in text)
    return in_one_piece and parts.scheme in {"http", "https"} and bool(parts.hostname)
