"""Campaigns: efforts with a goal, a budget and a time."""

from dataclasses import dataclass
from datetime import datetime

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.money import Money
from crmkit.states import StateMachine

CAMPAIGN = StateMachine(
    "state",
    {
        "submit": ({"DRAFT"}, "PENDING_APPROVAL"),
        "approve": ({"PENDING_APPROVAL"}, "SCHEDULED"),
        "reject": ({"PENDING_APPROVAL"}, "DRAFT"),
        "schedule": ({"DRAFT"}, "SCHEDULED"),
        "start": ({"SCHEDULED"}, "SENDING"),
        "pause": ({"SENDING"}, "PAUSED"),
        "resume": ({"PAUSED"}, "SENDING"),
        "complete": ({"SENDING"}, "COMPLETED"),
        "cancel": (
            {"DRAFT", "PENDING_APPROVAL", "SCHEDULED", "SENDING", "PAUSED"},
            "CANCELLED",
        ),
        "archive": ({"COMPLETED", "CANCELLED"}, "ARCHIVED"),
    },
)


@dataclass(kw_only=True)
class Campaign(Record):
    """An effort to reach people.

    Each method that changes the state raises FailedPrecondition `ILLEGAL_TRANSITION` where the
    table has no entry.
    """

    display_name: str
    kind: str = "MIXED"
    goal: str | None = None
    budget: Money | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    state: str = "DRAFT"
    rejection_reason: str | None = None

    def check(self) -> None:
        """Checks budget and times.

        Raises:
            InvalidArgument: The budget is negative, or the end lies before the start.
            FailedPrecondition: `START_TIME_REQUIRED`: it is scheduled, but for no time.
        """
        if self.budget is not None and self.budget.amount < 0:
            msg = "The budget cannot be negative."
            raise InvalidArgument(msg, field="campaign.budget")
        if self.start_time and self.end_time and self.end_time < self.start_time:
            msg = "A campaign does not end before it starts."
            raise InvalidArgument(msg, field="campaign.end_time")
        if self.state == "SCHEDULED":
            self._require_start_time()

    def _require_start_time(self) -> None:
        if self.start_time is None:
            msg = "The campaign needs a start_time to be scheduled."
            raise FailedPrecondition(msg, reason="START_TIME_REQUIRED", field="campaign.start_time")

    def submit(self) -> None:
        """Asks for approval; an earlier refusal is settled thereby."""
        CAMPAIGN.move(self, "submit")
        self.rejection_reason = None
        self.record("submitted")

    def approve(self) -> None:
        """Agrees and schedules; raises FailedPrecondition `START_TIME_REQUIRED` without a time."""
        CAMPAIGN.check(self, "approve")
        self._require_start_time()
        CAMPAIGN.move(self, "approve")
        self.record("approved")

    def reject(self, reason: str) -> None:
        """Sends it back to be changed."""
        CAMPAIGN.move(self, "reject")
        self.rejection_reason = reason or None
        self.record("rejected")

    def schedule(self) -> None:
        """Schedules a draft without approval; raises FailedPrecondition `START_TIME_REQUIRED`."""
        CAMPAIGN.check(self, "schedule")
        self._require_start_time()
        CAMPAIGN.move(self, "schedule")
        self.rejection_reason = None
        self.record("scheduled")

    def start(self) -> None:
        """Starts it now."""
        CAMPAIGN.move(self, "start")
        self.record("started")

    def pause(self) -> None:
        """Stops it until it is resumed."""
        CAMPAIGN.move(self, "pause")
        self.record("paused")

    def resume(self) -> None:
        """Lets it go on."""
        CAMPAIGN.move(self, "resume")
        self.record("resumed")

    def complete(self) -> None:
        """Ends it."""
        CAMPAIGN.move(self, "complete")
        self.record("completed")

    def cancel(self) -> None:
        """Gives it up."""
        CAMPAIGN.move(self, "cancel")
        self.record("cancelled")

    def archive(self) -> None:
        """Puts it away."""
        CAMPAIGN.move(self, "archive")
        self.record("archived")
