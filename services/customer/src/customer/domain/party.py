"""What accounts and contacts have in common: how, when and in which language to reach somebody."""

import datetime as dt
import re
from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.organization import time_zones
from customer.domain.phones import is_number, normalise_phones
from customer.domain.quality import quality_issues
from customer.domain.values import (
    Address,
    EmailAddress,
    PhoneNumber,
    normalise_addresses,
    normalise_emails,
)

IN_STEP = (
    "display_name", "emails", "phones", "addresses", "owner", "preferred_channel", "quiet_hours_start",
    "quiet_hours_end", "time_zone", "language_code", "interests", "important_dates", "delete_time",
)  # fmt: skip
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", re.ASCII)


@dataclass
class ImportantDate:
    """A day that matters to somebody, every year."""

    label: str
    date: dt.date | None = None


@dataclass(kw_only=True)
class Party(Record):
    """Somebody we deal with or speak to."""

    noun = "party"  # in paths of errors
    derived = frozenset(
        {"sort_name", "completeness", "missing_fields", "quality_issues", "field_sources"}
    )
    emails: list[EmailAddress] = field(default_factory=list)
    phones: list[PhoneNumber] = field(default_factory=list)
    addresses: list[Address] = field(default_factory=list)
    sort_name: str | None = None
    external_ids: dict[str, str] = field(default_factory=dict)
    preferred_channel: str | None = None
    quiet_hours_start: str | None = None
    quiet_hours_end: str | None = None
    time_zone: str | None = None
    language_code: str | None = None
    interests: list[str] = field(default_factory=list)
    important_dates: list[ImportantDate] = field(default_factory=list)
    completeness: int | None = None
    missing_fields: list[str] = field(default_factory=list)
    quality_issues: list[str] = field(default_factory=list)
    field_sources: dict[str, str] = field(default_factory=dict)
    erase_time: dt.datetime | None = None
    merged_into: UUID | None = None

    def in_step(self) -> dict[str, Any]:
        """What a private person's account and contact have in common."""
        return {name: deepcopy(getattr(self, name)) for name in IN_STEP}

    def settle_points(self, default_region: str = "") -> None:
        """Writes addresses and numbers as they are kept; numbers without a country are of the default's."""
        normalise_emails(self.emails, f"{self.noun}.emails")
        normalise_addresses(self.addresses, f"{self.noun}.addresses")
        path = f"{self.noun}.phones"
        normalise_phones(self.phones, self.addresses, path, default_region=default_region)

    def settle_preferences(self) -> None:
        """Writes preferences as they are kept.

        Raises:
            InvalidArgument: Quiet hours have one end only, or a time zone or language is none.
        """
        self.quiet_hours_start = self.quiet_hours_start or None
        self.quiet_hours_end = self.quiet_hours_end or None
        if (self.quiet_hours_start is None) != (self.quiet_hours_end is None):
            missing = "end" if self.quiet_hours_end is None else "start"
            msg = "Quiet hours have a start and an end."
            raise InvalidArgument(msg, field=f"{self.noun}.quiet_hours_{missing}")
        self.time_zone = self.time_zone or None
        if self.time_zone is not None and self.time_zone not in time_zones():
            msg = "The time zone must be a name of the IANA database, such as Europe/Berlin."
            raise InvalidArgument(msg, reason="UNKNOWN_TIME_ZONE", field=f"{self.noun}.time_zone")
        self.language_code = self.language_code or None
        if self.language_code is not None and not _LANGUAGE.fullmatch(self.language_code):
            msg = "The language must be a tag such as en, de-CH or zh-Hans."
            raise InvalidArgument(
                msg, reason="UNKNOWN_LANGUAGE", field=f"{self.noun}.language_code"
            )
        self.interests = once(self.interests)
        self.missing_fields = self.missing_fields or []

    def rate(self, expected: Mapping[str, Any]) -> None:
        """Says how complete the record is, and what of it is to be repaired.

        Args:
            expected: The fields that a complete record of this kind has, and what they hold.
        """
        missing = [name for name, value in expected.items() if not value]
        self.missing_fields = missing
        self.quality_issues = quality_issues(self)
        self.completeness = round(100 * (len(expected) - len(missing)) / len(expected))

    def numbers(self) -> list[PhoneNumber]:
        """The phone numbers that can be dialled."""
        return [phone for phone in self.phones if is_number(phone.number)]


def once(texts: list[str]) -> list[str]:
    """The texts without empty ones and repetitions, in another case too."""
    kept: dict[str, str] = {}
    for text in texts or []:
        if bare := text.strip():
            kept.setdefault(bare.casefold(), bare)
    return list(kept.values())
