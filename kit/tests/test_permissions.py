"""What a pattern of permissions gives."""

import pytest

from crmkit.permissions import gives


@pytest.mark.parametrize(
    ("pattern", "permission", "given"),
    [
        ("sales.opportunities.win", "sales.opportunities.win", True),
        ("sales.opportunities.win", "sales.opportunities.lose", False),
        ("sales.*", "sales.opportunities.win", True),
        ("sales.*", "sales.opportunities.*", True),
        ("sales.opportunities.*", "sales.*", False),
        ("sales.*", "support.tickets.get", False),
        ("*", "sales.opportunities.purge", True),
        ("sales.opportunities.purge", "sales.opportunities.purge", True),
        ("sales.*", "sales.opportunities.purge", False),
        ("sales.opportunities.*", "sales.opportunities.purge", False),
        ("*", "*", True),
        ("sales.*", "*", False),
    ],
)
def test_a_pattern_gives_what_begins_alike_but_nothing_that_cannot_be_undone(
    pattern: str, permission: str, *, given: bool
) -> None:
    """INVARIANT: a wildcard of a service or a collection never gives the right to purge."""
    assert gives(pattern, permission) is given
