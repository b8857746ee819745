"""What a text means in a pick list."""

import pytest

from crmkit.errors import InvalidArgument
from crmkit.pick_lists import PickList

ENTRIES = [
    {"id": "no_budget", "labels": {"en": "No budget", "de": "Kein Budget"}},
    {"id": "price", "labels": {"en": "Price", "de": "Preis"}},
    {"id": "timing", "labels": {"en": "Timing"}, "retired": True},
]
CLOSED = PickList.from_json({"key": "lost_reason", "entries": ENTRIES})
OPEN = PickList.from_json({"key": "lost_reason", "entries": ENTRIES, "open": True})


@pytest.mark.parametrize("text", ["No budget", "kein budget", "NO_BUDGET", " no_budget "])
def test_a_label_in_any_language_and_case_means_its_entry(text: str) -> None:
    """INVARIANT: an open list never has one value under two ids, and imports may bring labels."""
    assert OPEN.entry(text, "reason") == "no_budget"
    assert CLOSED.entry(text, "reason", by_label=True) == "no_budget"


@pytest.mark.parametrize("text", ["No budget", "NO_BUDGET", "weather"])
def test_a_closed_list_takes_its_ids_only(text: str) -> None:
    """The field at fault and what is possible are named; what is retired is not possible."""
    with pytest.raises(InvalidArgument) as refused:
        CLOSED.entry(text, "reason")
    assert refused.value.reason == "UNKNOWN_ENTRY"
    assert refused.value.violations[0].field == "reason"
    assert "no_budget, price" in refused.value.message
    assert "timing" not in refused.value.message


def test_an_open_list_takes_what_it_does_not_have() -> None:
    assert OPEN.entry("Weather", "reason") == "Weather"


@pytest.mark.parametrize("one", [OPEN, CLOSED])
def test_a_retired_entry_is_refused(one: PickList) -> None:
    """INVARIANT: no record gets a value that was retired, however it is written."""
    for text in ("timing", "Timing"):
        with pytest.raises(InvalidArgument) as refused:
            one.entry(text, "reason", by_label=True)
        assert refused.value.reason == "RETIRED_ENTRY"
