"""Interactions: what happened, and when."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from crmkit.errors import InvalidArgument
from customer.domain.interaction import Interaction

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def interaction(**values: Any) -> Interaction:
    return Interaction(id=uuid4(), create_time=NOW, update_time=NOW, **values)


def test_what_is_recorded_happened_now_if_nobody_says_when() -> None:
    made = interaction()
    made.happen(NOW)
    assert made.occur_time == NOW
    assert [(e.kind, e.effective_time) for e in made.events] == [
        ("created", NOW),
        ("recorded", NOW),
    ]


@pytest.mark.parametrize(
    ("ahead", "allowed"), [(timedelta(minutes=4), True), (timedelta(hours=1), False)]
)
def test_what_is_yet_to_come_is_no_interaction(ahead: timedelta, allowed: bool) -> None:  # noqa: FBT001
    """Clocks may differ by some minutes."""
    made = interaction(occur_time=NOW + ahead)
    if allowed:
        made.happen(NOW)
    else:
        with pytest.raises(InvalidArgument) as refused:
            made.happen(NOW)
        assert refused.value.violations[0].field == "interaction.occur_time"


def test_who_took_part_and_what_it_was_about_stand_there_once() -> None:
    made = interaction(
        participants=["users/a", "users/b", "users/a"], related=["accounts/a", "accounts/a"],
        participant_addresses=["a@b.c", "", "a@b.c"], message_id="",
    )  # fmt: skip
    made.check()
    assert made.participants == ["users/a", "users/b"]
    assert (made.related, made.participant_addresses) == (["accounts/a"], ["a@b.c"])
    assert made.message_id is None
