"""The organisation's settings."""

import re
from dataclasses import dataclass, field
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.money import check_currency
from crmkit.organization import time_zones

ORGANIZATION_ID = UUID("0197f000-0000-7000-8000-000000000002")

_COLOR = re.compile(r"#[0-9A-Fa-f]{6}")
_LEAST_CONTRAST = 4.5
_DARK = 0.04045  # below it sRGB is linear
# BCP 47: a language, perhaps a script, a region, variants; the registry itself is not asked.
_LANGUAGE = re.compile(
    r"[a-z]{2,3}(-[A-Z][a-z]{3})?(-([A-Z]{2}|[0-9]{3}))?(-([a-z0-9]{5,8}|[0-9][a-z0-9]{3}))*"
)
_PLACEHOLDER = re.compile(r"\{(year|month|number(?::([1-9]))?)\}")
_FIELD = re.compile(r"[a-z][A-Za-z]*\.(\*|[a-z][a-z0-9_]*)")
_SOURCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")
_NUMBERED = re.compile(r"[a-z][a-z_]*")


@dataclass
class BrandColors:
    """Colours as `#RRGGBB`."""

    primary: str | None = None
    accent: str | None = None


@dataclass(kw_only=True)
class Organization(Record):
    """Who this deployment serves."""

    display_name: str = "My organisation"
    legal_name: str | None = None
    base_currency_code: str = "USD"
    fiscal_year_start_month: int = 1
    time_zone: str = "UTC"
    first_day_of_week: str = "MONDAY"
    language_code: str = "en"
    format_locale: str = "en-GB"
    brand_colors: BrandColors | None = None
    number_patterns: dict[str, str] = field(default_factory=dict)
    trash_retention_days: int = 30
    logo_uri: str | None = None
    source_precedence: dict[str, str] = field(default_factory=dict)
    shared_email_policy: str = "ALLOWED"

    def show_logo(self, digest: str) -> None:
        """The logo is the picture of this digest, for everybody who shows it."""
        self.logo_uri = f"/v1/organization/logo?digest={digest}"

    def check(self) -> None:
        """Raises InvalidArgument, naming the field, for what does not exist or cannot be read."""
        check_currency(self.base_currency_code, field="organization.base_currency_code")
        check_time_zone(self.time_zone)
        for name in ("language_code", "format_locale"):
            if not _LANGUAGE.fullmatch(getattr(self, name)):
                path = f"organization.{name}"
                msg = f"{path} must be a language tag such as en, de-CH or zh-Hans."
                raise InvalidArgument(msg, reason="UNKNOWN_LANGUAGE", field=path)
        for name in ("primary", "accent"):
            color = getattr(self.brand_colors, name, None)
            if color:
                _check_color(color, f"organization.brand_colors.{name}")
        for resource, pattern in self.number_patterns.items():
            _check_pattern(resource, pattern)
        for name, order in (self.source_precedence or {}).items():
            _check_precedence(name, order)


def check_time_zone(name: str) -> None:
    """Raises InvalidArgument `UNKNOWN_TIME_ZONE` for what is no name of the IANA database."""
    if name not in time_zones():
        path = "organization.time_zone"
        msg = f"{path} must be a name of the IANA time zone database, such as Europe/Berlin."
        raise InvalidArgument(msg, reason="UNKNOWN_TIME_ZONE", field=path)


def contrast_with_white(color: str) -> float:
    """The contrast of a colour with white as WCAG 2.2 defines it, 1 to 21."""
    parts = [int(color[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= _DARK else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    luminance = 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
    return 1.05 / (luminance + 0.05)


def _check_color(color: str, path: str) -> None:
    if not _COLOR.fullmatch(color):
        msg = f"{path} must be a colour such as #1A5FB4."
        raise InvalidArgument(msg, field=path)
    contrast = contrast_with_white(color)
    if contrast < _LEAST_CONTRAST:
        msg = (
            f"White text on {color} cannot be read well: its contrast is {contrast:.2f} to 1, and "
            f"must be at least {_LEAST_CONTRAST} to 1. Choose a darker colour."
        )
        raise InvalidArgument(
            msg, reason="LOW_CONTRAST", field=path, metadata={"contrast": f"{contrast:.2f}"}
        )


def _check_pattern(resource: str, pattern: str) -> None:
    path = f"organization.number_patterns[{resource}]"
    numbers = [p for p, _ in _PLACEHOLDER.findall(pattern) if p.startswith("number")]
    rest = _PLACEHOLDER.sub("", pattern)
    if len(numbers) != 1 or "{" in rest or "}" in rest or not _NUMBERED.fullmatch(resource):
        msg = f"{path} must hold {{number}} once, and of the others only {{year}} and {{month}}."
        raise InvalidArgument(msg, reason="INVALID_NUMBER_PATTERN", field=path)


def _check_precedence(name: str, order: str) -> None:
    path = f"organization.source_precedence[{name}]"
    if not _FIELD.fullmatch(name):
        msg = f"{path} must name a field such as accounts.phones, or all of them: accounts.*."
        raise InvalidArgument(msg, field=path)
    sources = [part.strip() for part in order.split(">")]
    if len(set(sources)) < len(sources) or not all(map(_SOURCE.fullmatch, sources)):
        msg = f"{path} must be an order of sources, each once, such as user > sap > import."
        raise InvalidArgument(msg, field=path)
