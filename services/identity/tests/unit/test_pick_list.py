"""Pick lists: entries stay, and open ones learn."""

from datetime import UTC, datetime

import pytest

from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from identity.domain.built_in_pick_lists import BUILT_IN_PICK_LISTS
from identity.domain.pick_list import MAX_ENTRIES, Entry, PickList

NOW = datetime(2026, 11, 25, tzinfo=UTC)


def made(*ids: str, open: bool = True) -> PickList:  # noqa: A002
    return PickList(
        id=uuid7(), create_time=NOW, update_time=NOW, key="industry", display_name="Industry",
        open=open, entries=[Entry(one, {"en": one.upper()}) for one in ids],
    )  # fmt: skip


def test_the_built_in_lists_are_sound() -> None:
    for one in BUILT_IN_PICK_LISTS:
        built = made()
        built.entries = one.entries()
        built.check()
    assert len({one.id for one in BUILT_IN_PICK_LISTS}) == len(BUILT_IN_PICK_LISTS)


def test_an_entry_is_retired_never_removed() -> None:
    """INVARIANT: what records hold keeps its meaning."""
    before, after = made("food", "retail"), made("retail")
    with pytest.raises(InvalidArgument, match="food") as refused:
        after.refuse_removal(before)
    assert refused.value.reason == "ENTRY_REMOVED"
    after.entries.append(Entry("food", retired=True))
    after.refuse_removal(before)


@pytest.mark.parametrize("ids", [("food", "food"), ("food", "FOOD"), (" food",)])
def test_an_id_is_there_once_whatever_its_case(ids: tuple[str, ...]) -> None:
    with pytest.raises(InvalidArgument):
        made(*ids).check()


def test_an_open_list_learns_what_it_lacks() -> None:
    """INVARIANT: once, and not what it has under another case or as a label."""
    one = made("food")
    assert one.learn("Fishing", "en")
    assert one.entries[-1] == Entry("Fishing", {"en": "Fishing"})
    assert not any(one.learn(text, "en") for text in ("fishing", "Fishing", "FOOD"))
    assert not made("food", open=False).learn("Fishing", "en")
    full = made(*(f"v{i}" for i in range(MAX_ENTRIES)))
    assert not full.learn("Fishing", "en")
