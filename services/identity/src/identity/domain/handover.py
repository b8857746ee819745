"""Hand-overs: what belongs to somebody who leaves becomes somebody else's."""

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

    user: UUID
    successor: UUID
    state: str = "RUNNING"
    parts: list[Part] = field(default_factory=list)
    end_time: datetime | None = None

    def check(self) -> None:
        """Raises InvalidArgument `SUCCESSOR_IS_USER`."""
        if self.user == self.successor:
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


def successor_not_active() -> FailedPrecondition:
    """The failure of a hand-over to somebody who may not sign in."""
    msg = "The successor may not sign in; name somebody who may."
    return FailedPrecondition(msg, reason="SUCCESSOR_NOT_ACTIVE", field="handover.successor")
