"""Conditions: what cannot be evaluated is refused when it is saved; what can is cheap."""

import time

import pytest

from crmkit.errors import InvalidArgument
from workspace.domain.condition import check_condition, holds

FIELDS = {"amount", "stage", "labels", "lines"}
VALUES = {
    "event": {"type": "sales.opportunity.won", "imported": False},
    "record": {"amount": {"units": 2000, "currency_code": "EUR"}, "labels": {"tier": "gold"}},
    "changed_fields": ["stage"],
}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", True),
        ("record.amount.units > 1000 && 'stage' in changed_fields", True),
        ("record.labels.tier == 'silver'", False),
        ("record.lines.exists(l, l.quantity > 1)", False),  # absent: false
        ("has(record.stage) && record.stage == 'x'", False),
        ("changed_fields.exists(f, f.startsWith('sta'))", True),
        ("!event.imported", True),
        ("record.amount.units", False),  # not a truth value
    ],
)
def test_a_condition_holds_or_not(text: str, expected: bool) -> None:  # noqa: FBT001
    check_condition(text, "condition", FIELDS)
    assert holds(text, VALUES) is expected


@pytest.mark.parametrize(
    "text",
    [
        "1 +", "record.amount.units >", "nobody == 1", "record.amuont.units > 1", "__import__('os')",
        "record.amount.units > 1 || x > 2", "(" * 500 + "1" + ")" * 500, "a" * 2000,
        "open('x') == 1", "'x'.shout() == 'X'", "\x00", "'\ud800'",
        "[1].all(x, [1].all(y, [1].all(z, true)))",
    ],
)  # fmt: skip
def test_what_cannot_be_evaluated_is_refused(text: str) -> None:
    """The field is named; nothing is run."""
    with pytest.raises(InvalidArgument) as refused:
        check_condition(text, "webhook.condition", FIELDS)
    assert refused.value.reason == "INVALID_CONDITION"
    assert refused.value.violations[0].field == "webhook.condition"


@pytest.mark.parametrize(
    "text", ["record.amount > 'x'", "1 / 0 > 1", "'a' + 1 == 'b'", "size(1) > 0"]
)
def test_comparing_what_cannot_be_compared_is_a_failure_of_ours(text: str) -> None:
    """INVARIANT: no condition raises anything else, whatever the library does."""
    with pytest.raises(InvalidArgument) as failed:
        holds(text, VALUES)
    assert failed.value.reason == "CONDITION_FAILED"


def test_the_dearest_condition_is_cheap() -> None:
    """It runs for every event: the limits on length and comprehensions keep it in milliseconds."""
    numbers = "[" + ",".join("1" * 1 for _ in range(200)) + "]"
    dear = f"{numbers}.all(x,{numbers}.all(y,x==y))"
    check_condition(dear, "condition")
    started = time.perf_counter()
    assert holds(dear, VALUES)
    assert time.perf_counter() - started < 0.5
    holds("'" + "a" * 400 + "'.matches('(a+)+$')", VALUES)
    assert time.perf_counter() - started < 1
