"""Contacts: persons we speak to."""

from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from customer.domain.names import full_name, person_key
from customer.domain.phones import normalise_phones
from customer.domain.values import (
    Address,
    EmailAddress,
    PhoneNumber,
    normalise_addresses,
    normalise_emails,
    primary,
)


@dataclass(kw_only=True)
class Contact(Record):
    """A person we speak to; one name or an address is enough to know them by."""

    derived = frozenset({"sort_name"})
    display_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    account: UUID | None = None
    job_title: str | None = None
    emails: list[EmailAddress] = field(default_factory=list)
    phones: list[PhoneNumber] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    birthday: date | None = None
    do_not_call: bool | None = None
    sort_name: str | None = None

    def check(self) -> None:
        """Normalises addresses and numbers and makes the names that are shown and sorted by.

        Raises:
            InvalidArgument: Nothing says who the person is.
        """
        normalise_emails(self.emails, "contact.emails")
        normalise_addresses(self.addresses, "contact.addresses")
        normalise_phones(self.phones, self.addresses, "contact.phones")
        if not self.display_name:
            self.display_name = self.name_to_show()
        if not self.display_name:
            msg = "A contact needs a name, an e-mail address or a phone number."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="contact.display_name")
        self.sort_name = person_key(self.display_name, self.given_name, self.family_name)

    def follow(self, before: "Contact") -> None:
        """A display name that was made from other fields is made anew when they change."""
        if self.display_name == before.display_name == before.name_to_show():
            self.display_name = self.name_to_show()
            self.check()

    def name_to_show(self) -> str | None:
        """The name made from the other fields; None where they say nothing."""
        if names := full_name(self.given_name, self.family_name):
            return names
        point = primary(self.emails)
        if point is not None:
            return point.address
        phone = primary(self.phones)
        return phone.number if phone is not None else None
