"""A state changes only as its table says."""

from dataclasses import dataclass
from enum import StrEnum

import pytest

from crmkit.errors import FailedPrecondition
from crmkit.states import Cell, StateMachine


class State(StrEnum):
    """States as a domain module writes them."""

    OPEN = "OPEN"
    WON = "WON"
    LOST = "LOST"


@dataclass
class Deal:
    """An entity; it holds the state's name."""

    state: str


MACHINE = StateMachine(
    "state",
    {
        "win": ({State.OPEN}, State.WON),
        "lose": ({"OPEN"}, "LOST"),
        "reopen": ((State.WON, State.LOST), State.OPEN),
    },
)
ALLOWED = {
    ("OPEN", "win"): "WON",
    ("OPEN", "lose"): "LOST",
    ("WON", "reopen"): "OPEN",
    ("LOST", "reopen"): "OPEN",
}


def test_the_cells_are_the_whole_table() -> None:
    """Every state meets every method, so that a table test misses none."""
    cells = {(cell.state, cell.method): cell.target for cell in MACHINE.cells()}
    assert len(cells) == 9
    assert {key: target for key, target in cells.items() if target} == ALLOWED


@pytest.mark.parametrize(
    "cell", list(MACHINE.cells()), ids=lambda cell: f"{cell.state}-{cell.method}"
)
def test_a_method_moves_the_entity_or_is_refused_with_the_allowed_ones(cell: Cell) -> None:
    """A refused method leaves the entity as it was and says what would be possible."""
    deal = Deal(cell.state)
    if cell.target:
        MACHINE.move(deal, cell.method)
        assert type(deal.state) is str
        assert deal.state == cell.target
        return
    with pytest.raises(FailedPrecondition) as failure:
        MACHINE.move(deal, cell.method)
    allowed = {"OPEN": "lose,win", "WON": "reopen", "LOST": "reopen"}[cell.state]
    assert failure.value.reason == "ILLEGAL_TRANSITION"
    assert failure.value.metadata == {"state": cell.state, "allowed_methods": allowed}
    assert deal == Deal(cell.state)


def test_a_method_that_the_table_does_not_know_is_a_programming_error() -> None:
    """It must not reach a client as a refusal."""
    with pytest.raises(LookupError):
        MACHINE.move(Deal("OPEN"), "archive")
