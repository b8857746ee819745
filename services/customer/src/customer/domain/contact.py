"""Contacts: persons we speak to."""

from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from customer.domain.values import (
    Address,
    EmailAddress,
    PhoneNumber,
    normalise_emails,
    normalise_phones,
)


@dataclass(kw_only=True)
class Contact(Record):
    """A person we speak to; one name or an address is enough to know them by."""

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

    def check(self) -> None:
        """Normalises addresses and numbers and makes the display name.

        Raises:
            InvalidArgument: Nothing says who the person is.
        """
        normalise_emails(self.emails)
        normalise_phones(self.phones)
        if not self.display_name:
            self.display_name = self._name_to_show()
        if not self.display_name:
            msg = "A contact needs a name, an e-mail address or a phone number."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="contact.display_name")

    def _name_to_show(self) -> str | None:
        names = " ".join(name for name in (self.given_name, self.family_name) if name)
        if names:
            return names
        if self.emails:
            return self.emails[0].address
        return self.phones[0].number if self.phones else None
