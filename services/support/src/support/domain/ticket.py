"""Tickets: questions, problems and complaints until they are solved."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.states import StateMachine

WAITING_STATES = ("PENDING_CUSTOMER", "PENDING_THIRD_PARTY", "ON_HOLD")
_SOLVED_STATES = ("RESOLVED", "CLOSED")

TICKET = StateMachine(
    "state",
    {
        "start": ({"NEW"}, "OPEN"),
        # To whichever of the waiting states the caller names; the table holds the usual one.
        "wait": ({"OPEN"}, "PENDING_CUSTOMER"),
        "resume": (WAITING_STATES, "OPEN"),
        "resolve": ({"OPEN"}, "RESOLVED"),
        "close": ({"RESOLVED"}, "CLOSED"),
        "reopen": (_SOLVED_STATES, "OPEN"),
    },
)


@dataclass(kw_only=True)
class Ticket(Record):
    """A request of a customer.

    Attributes:
        number: `T-000123`, given out when the ticket is stored.
        open_time: When the request came in.
        resolve_time: When it was last resolved; stays when it is opened again.
    """

    number: str = ""
    subject: str
    description: str | None = None
    kind: str = "QUESTION"
    priority: str = "NORMAL"
    category: str | None = None
    state: str = "NEW"
    account: UUID | None = None
    contact: UUID | None = None
    open_time: datetime | None = None
    resolve_time: datetime | None = None
    close_time: datetime | None = None
    reopen_count: int = 0
    resolution: str | None = None

    def begin(self, number: int) -> None:
        """Gets its number; a request that nobody dates came in when it was written down."""
        self.number = f"T-{number:06d}"
        self.open_time = self.open_time or self.create_time

    def tell_history(self) -> None:
        """Notes what an import tells of times long past.

        Raises:
            InvalidArgument: A time contradicts the state, or times are out of order.
        """
        if self.state in _SOLVED_STATES:
            self.resolve_time = self.resolve_time or self.close_time or self.create_time
        if self.state == "CLOSED":
            self.close_time = self.close_time or self.resolve_time
        self._check_times()
        self.record("created", effective_time=self.open_time)
        if self.resolve_time:
            self.record("resolved", effective_time=self.resolve_time)
        if self.close_time:
            self.record("closed", effective_time=self.close_time)

    def _check_times(self) -> None:
        if self.resolve_time and self.state not in _SOLVED_STATES:
            msg = f"A ticket that is {self.state} has not been resolved."
            raise InvalidArgument(msg, field="ticket.resolve_time")
        if self.close_time and self.state != "CLOSED":
            msg = f"A ticket that is {self.state} has not been closed."
            raise InvalidArgument(msg, field="ticket.close_time")
        if self.open_time and self.resolve_time and self.resolve_time < self.open_time:
            msg = "A ticket is not resolved before it is opened."
            raise InvalidArgument(msg, field="ticket.resolve_time")
        if self.resolve_time and self.close_time and self.close_time < self.resolve_time:
            msg = "A ticket is not closed before it is resolved."
            raise InvalidArgument(msg, field="ticket.close_time")

    # -- each of these raises FailedPrecondition `ILLEGAL_TRANSITION` where the table has no entry

    def start(self) -> None:
        """Begins work."""
        TICKET.move(self, "start")
        self.record("started")

    def wait(self, waiting_state: str) -> None:
        """Parks the ticket; raises InvalidArgument if the state is not one of waiting."""
        if waiting_state not in WAITING_STATES:
            msg = f"waiting_state must be one of {', '.join(WAITING_STATES)}."
            raise InvalidArgument(msg, field="waiting_state")
        TICKET.check(self, "wait")
        self.state = waiting_state
        self.record("waiting")

    def resume(self) -> None:
        """Takes a waiting ticket up again."""
        TICKET.move(self, "resume")
        self.record("resumed")

    def resolve(self, time: datetime, resolution: str) -> None:
        """Marks the ticket as solved."""
        TICKET.move(self, "resolve")
        self.resolve_time = time
        self.resolution = resolution or None
        self.record("resolved")

    def close(self, time: datetime) -> None:
        """Ends the ticket."""
        TICKET.move(self, "close")
        self.close_time = time
        self.record("closed")

    def reopen(self) -> None:
        """Opens the ticket again, and counts it."""
        TICKET.move(self, "reopen")
        self.close_time = None
        self.reopen_count += 1
        self.record("reopened")
