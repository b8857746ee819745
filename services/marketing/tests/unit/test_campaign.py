"""Campaigns: which method is allowed when, and what it changes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.money import Money
from crmkit.states import Cell
from marketing.domain.campaign import CAMPAIGN, Campaign

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)

# The whole table: method → (states it is allowed in, state after it).
ALLOWED = {
    "submit": ({"DRAFT"}, "PENDING_APPROVAL"),
    "approve": ({"PENDING_APPROVAL"}, "SCHEDULED"),
    "reject": ({"PENDING_APPROVAL"}, "DRAFT"),
    "schedule": ({"DRAFT"}, "SCHEDULED"),
    "start": ({"SCHEDULED"}, "SENDING"),
    "pause": ({"SENDING"}, "PAUSED"),
    "resume": ({"PAUSED"}, "SENDING"),
    "complete": ({"SENDING"}, "COMPLETED"),
    "cancel": ({"DRAFT", "PENDING_APPROVAL", "SCHEDULED", "SENDING", "PAUSED"}, "CANCELLED"),
    "archive": ({"COMPLETED", "CANCELLED"}, "ARCHIVED"),
}
EVENTS = {
    "submit": "submitted",
    "approve": "approved",
    "reject": "rejected",
    "schedule": "scheduled",
    "start": "started",
    "pause": "paused",
    "resume": "resumed",
    "complete": "completed",
    "cancel": "cancelled",
    "archive": "archived",
}


def campaign(state: str = "DRAFT", **values: object) -> Campaign:
    fields: dict[str, object] = {"display_name": "Spring", "start_time": NOW, **values}
    return Campaign(id=uuid7(), create_time=NOW, update_time=NOW, state=state, **fields)  # type: ignore[arg-type]


def call(found: Campaign, method: str) -> None:
    arguments = ["too dear"] if method == "reject" else []
    getattr(found, method)(*arguments)


def test_the_table_has_every_state_and_method() -> None:
    """INVARIANT: 8 states times 10 methods; a new one must be decided on."""
    assert len(list(CAMPAIGN.cells())) == 80


@pytest.mark.parametrize("cell", list(CAMPAIGN.cells()), ids=lambda c: f"{c.state}-{c.method}")
def test_each_cell_moves_or_refuses_as_the_table_says(cell: Cell) -> None:
    """INVARIANT: a method out of place changes nothing and names what is allowed."""
    found = campaign(cell.state)
    sources, target = ALLOWED[cell.method]
    if cell.state in sources:
        call(found, cell.method)
        assert found.state == target
        assert [event.kind for event in found.events] == [EVENTS[cell.method]]
        return
    with pytest.raises(FailedPrecondition) as refused:
        call(found, cell.method)
    assert refused.value.reason == "ILLEGAL_TRANSITION"
    assert refused.value.metadata["state"] == cell.state
    allowed = sorted(m for m, (states, _) in ALLOWED.items() if cell.state in states)
    assert refused.value.metadata["allowed_methods"] == ",".join(allowed)
    assert (found.state, found.events) == (cell.state, [])


@pytest.mark.parametrize(
    ("state", "method"), [("DRAFT", "schedule"), ("PENDING_APPROVAL", "approve")]
)
def test_nothing_is_scheduled_for_no_time(state: str, method: str) -> None:
    """INVARIANT: what is scheduled has a start time."""
    found = campaign(state, start_time=None)
    with pytest.raises(FailedPrecondition) as refused:
        call(found, method)
    assert refused.value.reason == "START_TIME_REQUIRED"
    assert (found.state, found.events) == (state, [])


def test_the_time_of_a_scheduled_campaign_cannot_be_cleared() -> None:
    """INVARIANT: what is scheduled has a start time, also after an update."""
    found = campaign("SCHEDULED", start_time=None)
    with pytest.raises(FailedPrecondition) as refused:
        found.check()
    assert refused.value.reason == "START_TIME_REQUIRED"


def test_a_refusal_is_kept_until_the_next_submission() -> None:
    """The reason is there to be read while the draft is changed."""
    found = campaign("PENDING_APPROVAL")
    found.reject("too dear")
    assert found.rejection_reason == "too dear"
    found.submit()
    assert found.rejection_reason is None


def test_a_campaign_does_not_end_before_it_starts() -> None:
    """The same instant is allowed, an earlier one is not."""
    campaign(end_time=NOW).check()
    with pytest.raises(InvalidArgument) as refused:
        campaign(end_time=NOW - timedelta(seconds=1)).check()
    assert refused.value.violations[0].field == "campaign.end_time"


def test_a_budget_is_not_negative() -> None:
    """Nothing costs less than nothing."""
    with pytest.raises(InvalidArgument) as refused:
        campaign(budget=Money(Decimal(-1), "EUR")).check()
    assert refused.value.violations[0].field == "campaign.budget"
