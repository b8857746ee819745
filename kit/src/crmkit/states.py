"""State machines written as tables: which method is allowed in which state."""

from collections.abc import Iterable, Iterator, Mapping
from enum import Enum
from typing import NamedTuple

from crmkit.errors import FailedPrecondition


class Cell(NamedTuple):
    """One cell of the table: a method called in a state.

    Attributes:
        state: the state before.
        method: the method called.
        target: the state after it, None where the method is refused.
    """

    state: str
    method: str
    target: str | None


class StateMachine:
    """The allowed transitions of one field.

    OPPORTUNITY = StateMachine("state", {
        "win": ({State.OPEN}, State.WON),
        "reopen": ({State.WON, State.LOST}, State.OPEN),
    })
    """

    def __init__(
        self, field: str, transitions: Mapping[str, tuple[Iterable[str | Enum], str | Enum]]
    ) -> None:
        """Takes the table.

        Args:
            field: the attribute of the entity that holds the state's name.
            transitions: method → (states it is allowed in, state it leads to).
        """
        self.field = field
        self._targets = {
            (_text(source), method): _text(target)
            for method, (sources, target) in transitions.items()
            for source in sources
        }
        self._methods = tuple(transitions)
        self._states = sorted({state for state, _ in self._targets} | {*self._targets.values()})

    def allowed_methods(self, state: str | Enum) -> list[str]:
        """Returns the methods allowed in the state, sorted."""
        return sorted(method for source, method in self._targets if source == _text(state))

    def check(self, entity: object, method: str) -> str:
        """Returns the state the method leads to, and changes nothing.

        Raises:
            FailedPrecondition: `ILLEGAL_TRANSITION`, with `state` and `allowed_methods`
                (separated by commas) in its metadata.
        """
        if method not in self._methods:
            msg = f"the table of {self.field} has no method {method}"
            raise LookupError(msg)
        state = _text(getattr(entity, self.field))
        if (state, method) not in self._targets:
            msg = f"{method} is not allowed while {self.field} is {state}"
            raise FailedPrecondition(
                msg,
                reason="ILLEGAL_TRANSITION",
                metadata={
                    "state": state,
                    "allowed_methods": ",".join(self.allowed_methods(state)),
                },
            )
        return self._targets[state, method]

    def move(self, entity: object, method: str) -> None:
        """Sets the entity's state to the one the method leads to.

        Raises:
            FailedPrecondition: `ILLEGAL_TRANSITION`, as in `check`; the entity is unchanged.
        """
        setattr(entity, self.field, self.check(entity, method))

    def cells(self) -> Iterator[Cell]:
        """Yields every (state, method) cell, allowed or not: the cases of a table test."""
        for state in self._states:
            for method in self._methods:
                yield Cell(state, method, self._targets.get((state, method)))


def _text(state: str | Enum) -> str:
    return str(state.value) if isinstance(state, Enum) else state
