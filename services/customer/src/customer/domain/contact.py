"""Contacts: persons we speak to."""

from dataclasses import dataclass, field, replace
from datetime import date
from uuid import UUID

from crmkit.errors import InvalidArgument
from customer.domain.names import full_name, person_key
from customer.domain.party import Party
from customer.domain.values import primary


@dataclass
class AccountContact:
    """A person's place in an account; who has left is not active."""

    account: UUID
    role: str | None = None
    primary: bool | None = None
    active: bool | None = None


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
    accounts: list[AccountContact] = field(default_factory=list)
    person_account: UUID | None = None

    def check(self) -> None:
        """Writes values as they are kept, makes the names that are shown and sorted by, rates the record.

        Raises:
            InvalidArgument: Nothing says who the person is, or an account is named twice.
        """
        self.settle_points()
        self.settle_preferences()
        if not self.display_name:
            self.display_name = self.name_to_show()
        if not self.display_name:
            msg = "A contact needs a name, an e-mail address or a phone number."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="contact.display_name")
        self.sort_name = person_key(self.display_name, self.given_name, self.family_name)
        self._check_accounts()
        self.rate_as_person()

    def _check_accounts(self) -> None:
        seen: set[UUID] = set()
        for index, place in enumerate(self.accounts):
            if place.account in seen:
                msg = "An account is named once."
                raise InvalidArgument(msg, field=f"contact.accounts[{index}].account")
            seen.add(place.account)
            place.active = place.active is not False
            if place.primary and not place.active:
                msg = "Who has left an account does not belong to it first."
                raise InvalidArgument(msg, field=f"contact.accounts[{index}].primary")
        if sum(bool(place.primary) for place in self.accounts) > 1:
            msg = "Only one account can be the primary one."
            raise InvalidArgument(msg, field="contact.accounts")

    def settle_accounts(self, before: "Contact | None") -> None:
        """`account` is the primary one of `accounts`: whichever of the two was changed leads.

        Raises:
            InvalidArgument: Both were changed, and say different things.
        """
        had = before.account if before is not None else None
        listed = before is None or self.accounts != before.accounts
        named = self.account != had
        marked = next((place.account for place in self.accounts if place.primary), None)
        if listed and named and self.account and marked not in {None, self.account}:
            msg = "The primary one of accounts is another."
            raise InvalidArgument(msg, field="contact.account")
        if named and self.account is not None:
            self._belong_first(self.account)
        elif named or listed:
            if named:  # it was cleared: the person does not belong to it any more
                self.accounts = [place for place in self.accounts if place.account != had]
            active = [place.account for place in self.accounts if place.active]
            kept = had if had in active else next(iter(active), None)
            self._belong_first(marked if marked in active else kept)

    def _belong_first(self, account: UUID | None) -> None:
        places = [replace(place, primary=None) for place in self.accounts]
        if account is not None and account not in {place.account for place in places}:
            places.insert(0, AccountContact(account))
        for place in places:
            if place.account == account:
                place.primary, place.active = True, True
        self.account, self.accounts = account, places

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
