"""Sets of duplicates: their states, and how records are sorted into them."""

from datetime import timedelta
from itertools import pairwise
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.clock import now
from crmkit.errors import FailedPrecondition
from crmkit.states import Cell
from customer.domain.duplicate import LARGEST_SET, STATES, DuplicatePair, DuplicateSet, regroup

NAMES = [f"contacts/{n:02}" for n in range(12)]


def pair(one: str, other: str, score: float = 0.9) -> DuplicatePair:
    first, second = sorted((one, other))
    return DuplicatePair(first, second, score, [])


def set_of(*pairs: DuplicatePair, age: int = 0, **values: Any) -> DuplicateSet:
    time = now() - timedelta(minutes=age)
    one = DuplicateSet(
        id=uuid4(), create_time=time, update_time=time, resource="contacts", **values
    )
    if pairs:
        one.hold(pairs)
        one.events.clear()
    return one


@pytest.mark.parametrize("cell", list(STATES.cells()), ids=str)
def test_each_method_is_allowed_where_the_table_says(cell: Cell) -> None:
    """INVARIANT: what somebody has decided is decided once."""
    one = set_of(state=cell.state)
    if cell.target is None:
        with pytest.raises(FailedPrecondition):
            getattr(one, cell.method)()
        return
    getattr(one, cell.method)()
    assert one.state == cell.target
    past = {"dismiss": "dismissed", "merge": "merged", "reopen": "reopened"}[cell.method]
    assert [event.kind for event in one.events] == [past]


def test_a_new_member_is_told_of_and_a_lost_one_is_not() -> None:
    """`found` means that somebody should look."""
    one = set_of(pair("contacts/a", "contacts/b"))
    one.hold([pair("contacts/a", "contacts/b"), pair("contacts/b", "contacts/c", 0.99)])
    assert [event.kind for event in one.events] == ["found"]
    assert (one.score, one.pairs[0].second) == (0.99, "contacts/c")
    one.events.clear()
    one.hold([pair("contacts/a", "contacts/b")])
    assert not one.events


def test_sets_that_grow_together_are_the_older_one() -> None:
    """A record that is like members of two sets makes them one; the younger is no more."""
    old, young = set_of(pair(*NAMES[0:2]), age=2), set_of(pair(*NAMES[2:4]), age=1)
    grouping = regroup(
        [young, old], ["contacts/x"], [pair("contacts/x", NAMES[0]), pair("contacts/x", NAMES[2])]
    )
    ((kept, pairs),) = grouping.kept
    assert (kept, len(pairs), grouping.gone, grouping.new) == (old, 4, [young], [])


def test_a_record_that_differs_now_leaves_and_may_split_a_set() -> None:
    """What hung together by it alone is two sets: the first keeps the name."""
    a, b, x, c, d = NAMES[:5]
    one = set_of(pair(a, b), pair(b, x), pair(x, c), pair(c, d))
    grouping = regroup([one], [x], [])
    assert [len(pairs) for _, pairs in grouping.kept] == [1]
    assert [len(pairs) for pairs in grouping.new] == [1]
    assert regroup([set_of(pair(a, b))], [a], []).gone


def test_a_set_does_not_grow_without_end() -> None:
    """INVARIANT: a chain of likenesses through all records makes no set of all records."""
    names = [f"contacts/{n:04}" for n in range(4 * LARGEST_SET)]
    grouping = regroup([], names, [pair(one, other) for one, other in pairwise(names)])
    sizes = [len({name for p in pairs for name in p.names}) for pairs in grouping.new]
    assert max(sizes) <= LARGEST_SET


_PAIRS = st.lists(
    st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)).filter(
        lambda both: both[0] != both[1]
    ),
    max_size=14,
)


@given(before=_PAIRS, after=_PAIRS, looked_at=st.sets(st.sampled_from(NAMES), min_size=1))
def test_every_record_is_in_one_set_at_most(
    before: list[tuple[str, str]], after: list[tuple[str, str]], looked_at: set[str]
) -> None:
    """INVARIANT: sets do not overlap, lose no pair that still holds, and a repeat changes nothing."""
    first = regroup([], NAMES, [pair(*both) for both in before])
    sets = [set_of(*pairs) for pairs in first.new]
    found = [pair(*both) for both in after if set(both) & looked_at]
    grouping = regroup(sets, looked_at, found)
    groups = [pairs for _, pairs in grouping.kept] + grouping.new
    members = [{name for p in pairs for name in p.names} for pairs in groups]
    assert sum(map(len, members)) == len(set().union(*members))
    kept = {pair(*both).names for both in before if not set(both) & looked_at}
    assert {p.names for pairs in groups for p in pairs} == kept | {p.names for p in found}
    assert len(grouping.kept) + len(grouping.gone) == len(sets)
    for one, pairs in grouping.kept:
        one.hold(pairs)
    new = [set_of(*pairs) for pairs in grouping.new]
    again = regroup([*(one for one, _ in grouping.kept), *new], looked_at, found)
    assert not again.new
    assert not again.gone
