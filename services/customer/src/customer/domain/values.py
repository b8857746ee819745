"""Values that accounts and contacts share: how to reach somebody."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from crmkit.errors import InvalidArgument

_CODE_LENGTH = 2  # of ISO 3166-1 alpha-2


@dataclass
class EmailAddress:
    """An e-mail address, in lower case, and what it is for."""

    address: str
    label: str = ""
    verified: bool | None = None
    primary: bool | None = None
    bounced: bool | None = None


@dataclass
class PhoneNumber:
    """A phone number, in E.164 where it can be read as one, and what it is for."""

    number: str
    label: str = ""
    extension: str | None = None
    region_code: str | None = None
    primary: bool | None = None


@dataclass
class Address:
    """A postal address; `region_code` is ISO 3166-1 alpha-2."""

    label: str = ""
    address_lines: list[str] = field(default_factory=list)
    locality: str = ""
    administrative_area: str = ""
    postal_code: str = ""
    region_code: str = ""
    sublocality: str | None = None
    sub_administrative_area: str | None = None
    sorting_code: str | None = None
    recipients: list[str] = field(default_factory=list)
    organization: str | None = None
    language_code: str | None = None
    primary: bool | None = None


Point = TypeVar("Point", EmailAddress, PhoneNumber, Address)


def normalise_emails(emails: list[EmailAddress], path: str) -> None:
    """Puts addresses into the form in which they are compared, each once."""
    for email in emails:
        email.address = email.address.strip().lower()
        email.verified = email.verified or None
        email.bounced = email.bounced or None
    _keep_once(emails, ("address",))
    settle_primary(emails, path)


def normalise_addresses(addresses: list[Address], path: str) -> None:
    """Writes countries and labels in one way.

    Raises:
        InvalidArgument: A country is no code of two letters.
    """
    for index, address in enumerate(addresses):
        address.label = address.label.lower()
        code = address.region_code.upper()
        if code and (len(code) != _CODE_LENGTH or not (code.isascii() and code.isalpha())):
            msg = "The country must be a code of ISO 3166-1, such as DE."
            raise InvalidArgument(msg, field=f"{path}[{index}].region_code")
        address.region_code = code
        address.recipients = address.recipients or []
    settle_primary(addresses, path)


def settle_primary(points: Sequence[Point], path: str) -> None:
    """One of a list comes first: the one that is marked, else the first.

    Raises:
        InvalidArgument: Several are marked.
    """
    marked = [index for index, point in enumerate(points) if point.primary]
    if len(marked) > 1:
        msg = "Only one can be the primary one."
        raise InvalidArgument(msg, field=f"{path}[{marked[1]}].primary")
    first = marked[0] if marked else 0
    for index, point in enumerate(points):
        point.primary = True if index == first else None


def primary(points: Sequence[Point]) -> Point | None:
    """The one of a list that comes first; None where there is none."""
    return next((p for p in points if p.primary), points[0] if points else None)


def _keep_once(points: list[Any], same: tuple[str, ...]) -> None:
    """Drops repetitions; what was marked on one of them stays marked."""
    kept: dict[tuple[Any, ...], Any] = {}
    for point in points:
        first = kept.setdefault(tuple(getattr(point, name) for name in same), point)
        if first is not point:
            first.label = first.label or point.label
            first.primary = first.primary or point.primary
            if isinstance(point, EmailAddress):
                first.verified = first.verified or point.verified
                first.bounced = first.bounced or point.bounced
    points[:] = kept.values()


def keep_numbers_once(phones: list[PhoneNumber], path: str) -> None:
    """Drops repetitions of a number that is known to be one."""
    _keep_once(phones, ("number", "extension"))
    settle_primary(phones, path)
