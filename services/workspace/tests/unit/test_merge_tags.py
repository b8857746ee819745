"""Merge tags: attack rows 9 to 11; there is no engine behind them."""

import time
from datetime import UTC, datetime

import pytest

from crmkit.errors import InvalidArgument
from workspace.domain.merge_tags import check_merge_tags, render, render_all, texts_of

VALUES = {
    "record": {
        "stage": "won",
        "name": "{{record.stage}}<script>",
        "amount": {"currency_code": "EUR", "units": 1200, "amount": 1200.5},
        "lines": ["a", "b"],
        "partner": False,
        "labels": {"tier": "gold"},
    },
    "event": {"time": datetime(2026, 11, 25, tzinfo=UTC)},
}
KNOWN = {
    "record.stage", "record.name", "record.amount", "record.lines", "record.partner",
    "record.labels.tier", "record.next_step", "event.time",
}  # fmt: skip


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", ""),
        ("no tags, but { braces } and }}", "no tags, but { braces } and }}"),
        ("{{record.stage}}", "won"),
        ("It is {{ record.stage | lost }}.", "It is won."),
        ("{{record.next_step|nothing to do}}", "nothing to do"),
        ("[{{record.next_step}}]", "[]"),
        ("{{record.amount}}", "1200.5 EUR"),
        ("{{record.lines}}, {{record.partner}}", "a, b, false"),
        ("{{record.labels.tier}}", "gold"),
        ("{{event.time}}", "2026-11-25T00:00:00+00:00"),
        ("{{record.name}}", "{{record.stage}}<script>"),  # what a tag stands for is no tag
    ],
)
def test_a_tag_becomes_its_value_or_its_default(text: str, expected: str) -> None:
    check_merge_tags(text, "text", KNOWN.__contains__)
    assert render(text, VALUES) == expected


@pytest.mark.parametrize(
    "text",
    [
        "{{ ''.__class__.__mro__ }}", '{{ env "DB_PASSWORD" }}', "{% for x in y %}{% endfor %}",
        "{{'x'*10**9}}", "{{record.password}}", "{{record}}", "{{record.stage", "{{{{record.stage}}}}",
        "{{record.stage|a|b}}", "{{record.stage|{{record.name}}}}", "{{}}", "{# x #}",
        "{{record.__class__}}", "{{record.stage()}}", "{{record[0]}}", "{{record.stäge}}",
        "{{record.stage}}" * 51,
    ],
)  # fmt: skip
def test_what_is_no_known_tag_is_refused(text: str) -> None:
    """INVARIANT: attack rows 9 and 10: refused when it is saved, at once, naming the field."""
    started = time.perf_counter()
    with pytest.raises(InvalidArgument) as refused:
        check_merge_tags(text, "rule.actions[0].notify.text", KNOWN.__contains__)
    assert (refused.value.reason, refused.value.violations[0].field) == (
        "UNKNOWN_MERGE_TAG", "rule.actions[0].notify.text",
    )  # fmt: skip
    assert time.perf_counter() - started < 0.1


def test_the_longest_text_is_cheap() -> None:
    """No input makes the pattern slow."""
    started = time.perf_counter()
    for text in ("{{" * 5000, "{{record." + "a." * 5000, "{{a|" + "x" * 10000, "{{ " + " " * 10000):
        with pytest.raises(InvalidArgument):
            check_merge_tags(text, "text", KNOWN.__contains__)
        render(text, VALUES)
    assert time.perf_counter() - started < 1


def test_every_text_in_json_is_found_and_rendered() -> None:
    """Keys stay as they are; numbers, flags and nothing too."""
    values = {
        "a": "{{record.stage}}",
        "b": [{"{{record.stage}}": "x {{record.stage}}"}],
        "c": 1,
        "d": None,
    }
    assert [path for path, _ in texts_of(values, "v")] == ["v.a", "v.b[0].{{record.stage}}"]
    rendered = {"a": "won", "b": [{"{{record.stage}}": "x won"}], "c": 1, "d": None}
    assert render_all(values, VALUES) == rendered
