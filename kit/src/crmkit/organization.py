"""The organisation's settings, as every service knows them from identity's feed (decision 7)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

_REGION = re.compile("[A-Z]{2}").fullmatch


@cache
def time_zones() -> frozenset[str]:
    """The names of the IANA database; the machine's own is none of them."""
    return frozenset(available_timezones() - {"localtime"})


@dataclass(frozen=True, slots=True)
class Organization:
    """The settings that services use; until identity has been heard, those of a new installation.

    The names are those of `crm.identity.v1.Organization`.
    """

    display_name: str = ""
    legal_name: str = ""
    base_currency_code: str = "USD"
    fiscal_year_start_month: int = 1
    time_zone: str = "UTC"
    first_day_of_week: str = "MONDAY"
    language_code: str = "en"
    format_locale: str = "en-GB"
    trash_retention_days: int = 30
    number_patterns: Mapping[str, str] = field(default_factory=dict, hash=False)
    source_precedence: Mapping[str, str] = field(default_factory=dict, hash=False)
    shared_email_policy: str = "ALLOWED"

    @property
    def zone(self) -> ZoneInfo:
        """The time zone in which the organisation's days begin."""
        return ZoneInfo(self.time_zone)

    @property
    def region_code(self) -> str:
        """The country of its formats, ISO 3166-1 alpha-2; empty where they are of a language alone."""
        return next((part for part in self.format_locale.split("-")[1:] if _REGION(part)), "")

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> "Organization":
        """From the record in an event; a field that this version does not know is left out."""
        known = {f.name for f in fields(cls)}
        return cls(**{name: item for name, item in value.items() if name in known})
