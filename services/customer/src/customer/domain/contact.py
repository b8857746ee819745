"""Contacts: persons we speak to."""

from dataclasses import dataclass
from datetime import date
from uuid import UUID

from crmkit.errors import InvalidArgument
from customer.domain.names import full_name, person_key
from customer.domain.party import Party
from customer.domain.values import primary


@dataclass(kw_only=True)
class Contact(Party):
    """A person we speak to; one name or an address is enough to know them by."""

    noun = "contact"
    display_name: str | None = None
    given_name: str | None = None
    family_name: str | None = None
    account: UUID | None = None
    job_title: str | None = None
    birthday: date | None = None
    do_not_call: bool | None = None

    def check(self) -> None:
        """Writes values as they are kept, makes the names that are shown and sorted by, rates the record.

        Raises:
            InvalidArgument: Nothing says who the person is.
        """
        self.settle_points()
        self.settle_preferences()
        if not self.display_name:
            self.display_name = self.name_to_show()
        if not self.display_name:
            msg = "A contact needs a name, an e-mail address or a phone number."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="contact.display_name")
        self.sort_name = person_key(self.display_name, self.given_name, self.family_name)
        self.rate_as_person()

    def rate_as_person(self) -> None:
        """Says how complete the record is."""
        self.rate(
            {
                "emails": self.emails,
                "phones": self.numbers(),
                "addresses": self.addresses,
                "account": self.account,
                "job_title": self.job_title,
                "language_code": self.language_code,
                "owner": self.owner,
            }
        )

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
