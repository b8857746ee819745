"""Hand-overs: what belongs to somebody who leaves, or to a team that ends, becomes somebody else's."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument

_ENDED = frozenset({"SUCCEEDED", "FAILED"})


@dataclass(frozen=True, kw_only=True)
class Part:
    """How far one service has come."""

    service: str
    state: str = "QUEUED"
    total_count: int = 0
    moved_count: int = 0
    failed_count: int = 0
    error_message: str | None = None


@dataclass(kw_only=True)
class Handover(Record):
    """From whom, to whom, and how far each service has come."""

    user: UUID | None = None
    successor: UUID | None = None
    former_team: UUID | None = None
    successor_team: UUID | None = None
    state: str = "RUNNING"
    parts: list[Part] = field(default_factory=list)
    end_time: datetime | None = None

    def check(self) -> None:
        """Checks from whom and to whom.

        Raises:
            InvalidArgument: `REQUIRED_FIELD`, `SUCCESSOR_IS_USER`, `SUCCESSOR_IS_TEAM`, or both are named.
        """
        _one_of(self, "user", "former_team")
        _one_of(self, "successor", "successor_team")
        if self.user is not None and self.successor_team is not None:
            msg = "A person's records go to a person, whose team counts then."
            raise InvalidArgument(msg, field="handover.successor_team")
        if self.former_team is not None and self.former_team == self.successor_team:
            msg = "A team does not succeed itself; name another."
            raise InvalidArgument(msg, reason="SUCCESSOR_IS_TEAM", field="handover.successor_team")
        if self.user is not None and self.user == self.successor:
            msg = "Nobody succeeds themselves; name somebody else."
            raise InvalidArgument(msg, reason="SUCCESSOR_IS_USER", field="handover.successor")

    def note(self, part: Part, now: datetime) -> None:
        """Takes over how far a service has come; the last that ends, ends it all."""
        if self.state != "RUNNING":
            return
        self.parts = [part if one.service == part.service else one for one in self.parts]
        states = {one.state for one in self.parts}
        if states <= _ENDED:
            self.state = "FAILED" if "FAILED" in states else "SUCCEEDED"
            self.end_time = now


def _one_of(handover: Handover, one: str, other: str) -> None:
    named = [name for name in (one, other) if getattr(handover, name) is not None]
    if not named:
        msg = f"handover.{one} or handover.{other} is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=f"handover.{one}")
    if len(named) > 1:
        msg = f"Either handover.{one} or handover.{other} is named, not both."
        raise InvalidArgument(msg, field=f"handover.{other}")


def successor_not_active() -> FailedPrecondition:
    """The failure of a hand-over to somebody who may not sign in."""
    msg = "The successor may not sign in; name somebody who may."
    return FailedPrecondition(msg, reason="SUCCESSOR_NOT_ACTIVE", field="handover.successor")
