"""What tells of a record whether another is the same person or firm, as it is compared."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from uuid import UUID

from customer.domain.account import Account
from customer.domain.contact import Contact
from customer.domain.names import fold
from customer.domain.phones import is_number
from customer.domain.values import Address

_WORD = re.compile(r"\w+")
_DIGIT = re.compile(r"\d")
# What says how a firm is organised, not which one it is.
_LEGAL_FORMS = frozenset({
    "ag", "bv", "co", "company", "corp", "corporation", "gbr", "gmbh", "inc", "incorporated", "kg", "kgaa",
    "limited", "llc", "llp", "ltd", "mbh", "nv", "ohg", "oy", "ab", "as", "plc", "pty", "sa", "sarl", "sas",
    "se", "spa", "srl", "sro",
})  # fmt: skip
# Of these services everybody has addresses: that two have theirs there says nothing of them.
_OF_EVERYBODY = frozenset({
    "gmail.com", "googlemail.com", "yahoo.com", "hotmail.com", "outlook.com", "live.com", "icloud.com",
    "me.com", "aol.com", "gmx.de", "gmx.net", "web.de", "t-online.de", "mail.ru", "yandex.ru", "qq.com",
    "163.com", "126.com", "proton.me", "protonmail.com", "msn.com",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """A postal address; `more` is what its lines say beside the street: a house's name, a floor."""

    number: str
    street: str
    more: str
    locality: str
    postal_code: str
    region: str

    @property
    def says_something(self) -> bool:
        """False where nothing but a country, or nothing at all, is known."""
        return bool(self.street or self.locality or self.postal_code)


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """A person or a firm.

    Attributes:
        id: The record.
        firm: True where it is an organisation; its name is then in `name` alone.
        name: All words of the name.
        person_account: The account that a private person is; it is compared by its contact.
    """

    id: UUID
    firm: bool = False
    name: tuple[str, ...] = ()
    given: str = ""
    family: str = ""
    birthday: date | None = None
    emails: frozenset[str] = frozenset()
    phones: frozenset[str] = frozenset()
    places: tuple[Place, ...] = ()
    accounts: frozenset[UUID] = frozenset()
    domains: frozenset[str] = frozenset()
    tax_id: str = ""
    person_account: UUID | None = None


def of_contact(contact: Contact) -> Profile:
    """What of a contact is compared."""
    given, family = _plain(contact.given_name), _plain(contact.family_name)
    words = [*_words(given), *_words(family)] or _words(fold(_named(contact)))
    if not given and not family and words:
        *first, last = words
        given, family = " ".join(first), last
    return Profile(
        id=contact.id,
        name=tuple(words),
        given=given,
        family=family,
        birthday=contact.birthday,
        emails=frozenset(email.address for email in contact.emails),
        phones=_phones(contact),
        places=_places(contact.addresses),
        accounts=frozenset(place.account for place in contact.accounts if place.active),
        person_account=contact.person_account,
    )


def of_account(account: Account) -> Profile:
    """What of an organisation is compared."""
    words = _words(fold(account.display_name))
    own = [word for word in words if word not in _LEGAL_FORMS] or words
    domains = {domain.lower() for domain in account.domains}
    domains |= {email.address.rpartition("@")[2] for email in account.emails}
    if account.website:
        domains.add(account.website.lower().split("//")[-1].split("/")[0].removeprefix("www."))
    return Profile(
        id=account.id,
        firm=True,
        name=tuple(own),
        emails=frozenset(email.address for email in account.emails),
        phones=_phones(account),
        places=_places(account.addresses),
        domains=frozenset(domains - _OF_EVERYBODY),
        tax_id="".join(_words(fold(account.tax_id or ""))),
    )


def _named(contact: Contact) -> str:
    """The name that is shown, unless it is only an address or a number for want of a name."""
    shown = contact.display_name or ""
    return "" if "@" in shown or is_number(shown) else shown


def _plain(text: str | None) -> str:
    return " ".join(_words(fold(text or "")))


def _words(text: str) -> list[str]:
    return _WORD.findall(text.replace("'", "").replace("\u2019", ""))


def _phones(party: Account | Contact) -> frozenset[str]:
    return frozenset(phone.number for phone in party.phones if is_number(phone.number))


def _places(addresses: Iterable[Address]) -> tuple[Place, ...]:
    places = [_place(address) for address in addresses]
    return tuple(place for place in places if place.says_something)


def _place(address: Address) -> Place:
    lines = [_words(fold(line)) for line in address.address_lines]
    number = next((word for line in lines for word in line if _DIGIT.search(word)), "")
    texts = [" ".join(word for word in line if word != number) for line in lines]
    named = [text for text in texts if text]
    return Place(
        number=number,
        street=named[0] if named else "",
        more=" ".join(named[1:]),
        locality=_plain(address.locality),
        postal_code="".join(_words(fold(address.postal_code))),
        region=address.region_code,
    )
