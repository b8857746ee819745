"""Values that accounts and contacts share."""

import re
from dataclasses import dataclass, field

_NOT_IN_A_NUMBER = re.compile(r"[\s()./-]+")
_E164 = re.compile(r"\+[1-9]\d{6,14}")


@dataclass
class EmailAddress:
    """An e-mail address, in lower case, and what it is for."""

    address: str
    label: str = ""


@dataclass
class PhoneNumber:
    """A phone number and what it is for."""

    number: str
    label: str = ""


@dataclass
class Address:
    """A postal address; `region_code` is ISO 3166-1 alpha-2."""

    label: str = ""
    address_lines: list[str] = field(default_factory=list)
    locality: str = ""
    administrative_area: str = ""
    postal_code: str = ""
    region_code: str = ""


def normalise_emails(emails: list[EmailAddress]) -> None:
    """Puts addresses into the form in which they are compared."""
    for email in emails:
        email.address = email.address.strip().lower()


def normalise_phones(phones: list[PhoneNumber]) -> None:
    """Writes international numbers in E.164; others stay as they were typed."""
    for phone in phones:
        compact = _NOT_IN_A_NUMBER.sub("", phone.number)
        if _E164.fullmatch(compact):
            phone.number = compact
