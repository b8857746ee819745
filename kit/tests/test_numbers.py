"""Human numbers: what a pattern says of them."""

from datetime import date

import pytest

from crmkit.numbers import parts


@pytest.mark.parametrize(
    ("pattern", "before", "digits", "after"),
    [
        ("C-{number:6}", "C-", 6, ""),
        ("{number}", "", 1, ""),
        ("{year}/{month}-{number:4}-A", "2026/03-", 4, "-A"),
        ("{number:3}.{year}", "", 3, ".2026"),
    ],
)
def test_a_pattern_is_a_number_between_texts(
    pattern: str, before: str, digits: int, after: str
) -> None:
    """INVARIANT: the year and the month are those of the day on which the number is drawn."""
    found = parts(pattern, date(2026, 3, 5))
    assert found == {"before": before, "digits": digits, "after": after}
