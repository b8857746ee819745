"""A person's addresses are taken out of texts, and nobody else's."""

from typing import Any

import pytest

from crmkit.personal.subject import Redactor

REDACTOR = Redactor(["ann@x.de", "+49301234567", "a@b"])


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("Write to Ann@X.de, soon.", "Write to [erased], soon."),
        ("ann@x.de", "[erased]"),
        ("<ann@x.de>;+49301234567", "<[erased]>;[erased]"),
        ("joann@x.de mary.ann@x.de ann@x.de.com +493012345678", None),
        ("a@b is too short to be looked for", None),
        (["ann@x.de", 7, None], ["[erased]", 7, None]),
        ({"to": {"ann@x.de": ["ann@x.de"]}}, {"to": {"[erased]": ["[erased]"]}}),
        (None, None),
    ],
)
def test_a_value_loses_the_addresses_of_a_person(before: Any, after: Any) -> None:
    """INVARIANT: whole addresses in any case, in lists and objects too; longer ones are other people's."""
    assert REDACTOR.redact(before) == (before if after is None else after)


def test_without_addresses_nothing_is_changed() -> None:
    """The second look knows names only."""
    assert Redactor([]).redact("ann@x.de") == "ann@x.de"
    assert not Redactor([]).holds("ann@x.de")


def test_what_like_would_take_for_a_pattern_is_taken_as_it_stands() -> None:
    assert Redactor(["100%_a@x.de"]).patterns == [r"%100\%\_a@x.de%"]
