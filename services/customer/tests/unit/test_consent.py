"""Consents: since when they hold, which of them decides, and what an entry changes."""

from datetime import UTC, datetime, timedelta
from itertools import permutations
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from customer.domain.consent import Consent

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
JO = uuid7()


def consent(decision: str = "GRANTED", recorded: datetime = NOW, **values: Any) -> Consent:
    given_ = {"id": uuid7(), "channel": "EMAIL", "purpose": "newsletter", "method": "WEB_FORM"}
    stamps = {"create_time": recorded, "update_time": recorded}
    return Consent(contact=JO, decision=decision, **{**stamps, **given_, **values})


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        (None, NOW),
        (NOW - timedelta(days=900), NOW - timedelta(days=900)),
        (NOW, NOW),
        (NOW + 4 * MINUTE, NOW),
    ],
)
def test_it_holds_since_when_it_says_else_since_it_was_recorded(
    said: datetime | None, kept: datetime
) -> None:
    """A clock that is a little ahead is no reason to lose a consent."""
    made = consent(effective_time=said)
    made.take_effect(NOW)
    assert made.effective_time == kept


def test_nothing_takes_effect_in_the_future() -> None:
    with pytest.raises(InvalidArgument) as refused:
        consent(effective_time=NOW + 6 * MINUTE).take_effect(NOW)
    assert [v.field for v in refused.value.violations] == ["consent.effective_time"]


def test_what_is_granted_says_how() -> None:
    """INVARIANT: a consent without proof is not in the ledger; a withdrawal always is."""
    with pytest.raises(InvalidArgument) as refused:
        consent(method=None).check()
    assert [v.field for v in refused.value.violations] == ["consent.method"]
    consent("WITHDRAWN", method=None).check()


def test_of_entries_at_one_instant_one_decides_in_whatever_order_they_are_read() -> None:
    """INVARIANT: recorded later, then withdrawn, then the greater id; so every reader has the same answer."""
    low, high = UUID(int=1), UUID(int=2)
    weakest_first = [
        consent(effective_time=NOW - MINUTE, recorded=NOW + MINUTE),
        consent("WITHDRAWN", effective_time=NOW, recorded=NOW),
        consent(effective_time=NOW, recorded=NOW + MINUTE, id=high),
        consent("WITHDRAWN", effective_time=NOW, recorded=NOW + MINUTE, id=low),
        consent("WITHDRAWN", effective_time=NOW, recorded=NOW + MINUTE, id=high),
    ]
    for order in permutations(weakest_first):
        assert sorted(order, key=lambda c: c.rank) == weakest_first


_TIMES = st.integers(0, 3).map(lambda n: NOW - n * MINUTE)
_DECISIONS = st.sampled_from(["GRANTED", "WITHDRAWN"])


@given(entries=st.lists(st.tuples(_DECISIONS, _TIMES, _TIMES), max_size=8))
def test_a_change_is_noted_just_where_what_holds_now_changes(
    entries: list[tuple[str, datetime, datetime]],
) -> None:
    """INVARIANT: who listens to `changed` alone always knows what holds now. The model asks all entries."""
    ledger: list[Consent] = []
    heard: str | None = None
    for decision, effective, recorded in entries:
        made = consent(decision, recorded, effective_time=effective)
        top = max(ledger, key=lambda c: c.rank, default=None)
        made.follow(top.rank if top else None, top.decision if top else None)
        ledger.append(made)
        now_holds = max(ledger, key=lambda c: c.rank).decision
        changes = [e for e in made.events if e.kind == "changed"]
        assert len(changes) == (now_holds != heard)
        if changes:
            assert changes[0].details == {"previous_decision": heard}
            heard = made.decision
        assert heard == now_holds
