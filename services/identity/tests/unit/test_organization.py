"""What the organisation's settings may be."""

from datetime import UTC, datetime
from typing import Any

import pytest

from crmkit.errors import InvalidArgument
from identity.domain.organization import (
    ORGANIZATION_ID,
    BrandColors,
    Organization,
    contrast_with_white,
)

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def settings(**values: Any) -> Organization:
    return Organization(id=ORGANIZATION_ID, create_time=NOW, update_time=NOW, **values)


def test_a_new_installation_has_settings_that_are_allowed() -> None:
    settings().check()


@pytest.mark.parametrize(
    ("values", "field", "reason"),
    [
        ({"base_currency_code": "XYZ"}, "base_currency_code", "INVALID_FIELD"),
        ({"time_zone": "Mars/Olympus"}, "time_zone", "UNKNOWN_TIME_ZONE"),
        ({"time_zone": "localtime"}, "time_zone", "UNKNOWN_TIME_ZONE"),
        ({"time_zone": "../../etc/passwd"}, "time_zone", "UNKNOWN_TIME_ZONE"),
        ({"language_code": "english"}, "language_code", "UNKNOWN_LANGUAGE"),
        ({"format_locale": "de_CH"}, "format_locale", "UNKNOWN_LANGUAGE"),
        ({"brand_colors": BrandColors("blue")}, "brand_colors.primary", "INVALID_FIELD"),
        ({"brand_colors": BrandColors(None, "#FFEE00")}, "brand_colors.accent", "LOW_CONTRAST"),
    ],
)  # fmt: skip
def test_what_does_not_exist_or_cannot_be_read_is_refused(
    values: dict[str, Any], field: str, reason: str
) -> None:
    """INVARIANT: a setting that no service could follow is never stored."""
    with pytest.raises(InvalidArgument) as refused:
        settings(**values).check()
    assert refused.value.reason == reason
    assert [v.field for v in refused.value.violations] == [f"organization.{field}"]


@pytest.mark.parametrize("pattern", ["Q-{year}", "{number}{number}", "{number}{owner}", "{number"])
def test_a_number_pattern_that_makes_no_number_is_refused(pattern: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        settings(number_patterns={"quote": pattern}).check()
    assert refused.value.reason == "INVALID_NUMBER_PATTERN"
    assert refused.value.violations[0].field == "organization.number_patterns[quote]"


@pytest.mark.parametrize("language", ["en", "de-CH", "zh-Hans", "zh-Hans-CN", "es-419", "sl-rozaj"])
def test_language_tags_of_every_form_are_taken(language: str) -> None:
    settings(language_code=language, format_locale=language).check()


@pytest.mark.parametrize(
    ("color", "contrast"),
    [("#FFFFFF", 1.0), ("#000000", 21.0), ("#767676", 4.54)],
)
def test_contrast_is_that_of_wcag(color: str, contrast: float) -> None:
    """#767676 is known as the lightest grey that white text may have behind it."""
    assert contrast_with_white(color) == pytest.approx(contrast, abs=0.01)


@pytest.mark.parametrize("pattern", ["Q-{year}-{number:5}", "{number}", "R{month}/{year}/{number}"])
def test_a_number_pattern_has_the_number_once(pattern: str) -> None:
    settings(number_patterns={"quote": pattern}).check()


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("accounts.phones", "user > sap > import"),
        ("contacts.*", "user"),
    ],
)
def test_an_order_of_sources_is_taken(name: str, order: str) -> None:
    settings(source_precedence={name: order}).check()


@pytest.mark.parametrize(
    ("name", "order"),
    [
        ("phones", "user > sap"),
        ("accounts.phones.number", "user"),
        ("accounts.*", ""),
        ("accounts.*", "user > user"),
        ("accounts.*", "user >> sap"),
        ("accounts.*", "a b"),
    ],
)
def test_an_order_that_says_nothing_certain_is_refused(name: str, order: str) -> None:
    """INVARIANT: the entry at fault is named."""
    with pytest.raises(InvalidArgument) as refused:
        settings(source_precedence={name: order}).check()
    assert refused.value.violations[0].field == f"organization.source_precedence[{name}]"
