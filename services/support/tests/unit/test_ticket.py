"""Tickets: which method is allowed when, and what an import may tell."""

from datetime import UTC, datetime, timedelta

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from support.domain.ticket import TICKET, WAITING_STATES, Ticket

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY = timedelta(days=1)
WAITING = set(WAITING_STATES)

# The whole table: method → (states it is allowed in, state after it).
ALLOWED = {
    "start": ({"NEW"}, "OPEN"),
    "wait": ({"OPEN"}, "ON_HOLD"),
    "resume": (WAITING, "OPEN"),
    "resolve": ({"OPEN"}, "RESOLVED"),
    "close": ({"RESOLVED"}, "CLOSED"),
    "reopen": ({"RESOLVED", "CLOSED"}, "OPEN"),
}
ARGUMENTS = {"wait": ["ON_HOLD"], "resolve": [NOW, "Restarted it"], "close": [NOW]}
EVENTS = {
    "start": "started",
    "wait": "waiting",
    "resume": "resumed",
    "resolve": "resolved",
    "close": "closed",
    "reopen": "reopened",
}


def ticket(state: str = "NEW", **values: object) -> Ticket:
    fields: dict[str, object] = {"subject": "It is broken", **values}
    return Ticket(id=uuid7(), create_time=NOW, update_time=NOW, state=state, **fields)  # type: ignore[arg-type]


def call(found: Ticket, method: str) -> None:
    getattr(found, method)(*ARGUMENTS.get(method, []))


def test_the_table_has_every_state_and_method() -> None:
    """INVARIANT: 7 states times 6 methods; a new one must be decided on."""
    assert len(list(TICKET.cells())) == 42


@pytest.mark.parametrize("cell", list(TICKET.cells()), ids=lambda c: f"{c.state}-{c.method}")
def test_each_cell_moves_or_refuses_as_the_table_says(cell: Cell) -> None:
    """INVARIANT: a method out of place changes nothing and names what is allowed."""
    found = ticket(cell.state)
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
    assert (found.state, found.reopen_count, found.events) == (cell.state, 0, [])


@pytest.mark.parametrize("waiting_state", WAITING_STATES)
def test_a_ticket_waits_in_the_state_that_is_named(waiting_state: str) -> None:
    """Each of the three says for whom we wait."""
    found = ticket("OPEN")
    found.wait(waiting_state)
    assert found.state == waiting_state


@pytest.mark.parametrize("waiting_state", ["OPEN", "CLOSED", "", "NONSENSE"])
def test_a_ticket_cannot_wait_in_another_state(waiting_state: str) -> None:
    """INVARIANT: waiting is no way around resolve and close."""
    found = ticket("OPEN")
    with pytest.raises(InvalidArgument) as refused:
        found.wait(waiting_state)
    assert refused.value.violations[0].field == "waiting_state"
    assert found.state == "OPEN"


def test_reopening_counts_and_clears_the_time_of_closing() -> None:
    """The time of the last solution stays, the ticket is not closed any more."""
    found = ticket("OPEN")
    found.resolve(NOW, "Restarted it")
    found.close(NOW + DAY)
    found.reopen()
    assert (found.reopen_count, found.resolve_time, found.close_time) == (1, NOW, None)


def test_a_ticket_opens_when_it_is_created() -> None:
    """Where nobody says otherwise."""
    found = ticket()
    found.begin(123)
    assert (found.number, found.open_time) == ("T-000123", NOW)


def test_an_imported_ticket_tells_its_history_at_its_times() -> None:
    """INVARIANT: reports count by when it happened, not by when it was imported."""
    found = ticket(
        "CLOSED", open_time=NOW - 9 * DAY, resolve_time=NOW - 5 * DAY, close_time=NOW - 2 * DAY
    )
    found.begin(1)
    found.tell_history()
    assert [(e.kind, e.effective_time) for e in found.events] == [
        ("created", NOW - 9 * DAY),
        ("resolved", NOW - 5 * DAY),
        ("closed", NOW - 2 * DAY),
    ]


def test_an_imported_closed_ticket_without_a_solution_was_solved_when_it_was_closed() -> None:
    """A file may know the last time only."""
    found = ticket("CLOSED", open_time=NOW - 9 * DAY, close_time=NOW - 2 * DAY)
    found.begin(1)
    found.tell_history()
    assert found.resolve_time == NOW - 2 * DAY


@pytest.mark.parametrize(
    ("state", "times", "field"),
    [
        ("OPEN", {"close_time": NOW}, "ticket.close_time"),
        ("OPEN", {"resolve_time": NOW}, "ticket.resolve_time"),
        ("RESOLVED", {"close_time": NOW, "resolve_time": NOW}, "ticket.close_time"),
        ("RESOLVED", {"resolve_time": NOW - DAY}, "ticket.resolve_time"),
        ("CLOSED", {"resolve_time": NOW + DAY, "close_time": NOW}, "ticket.close_time"),
    ],
)
def test_a_history_that_cannot_be_is_refused(
    state: str, times: dict[str, datetime], field: str
) -> None:
    """INVARIANT: times follow one another and fit the state."""
    found = ticket(state, open_time=NOW, **times)
    found.begin(1)
    with pytest.raises(InvalidArgument) as refused:
        found.tell_history()
    assert refused.value.violations[0].field == field
