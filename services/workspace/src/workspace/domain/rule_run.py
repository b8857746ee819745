"""Runs of rules: one rule at work on one event, step by step."""

import json
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID

from crmkit.ids import uuid5_of
from crmkit.states import StateMachine

RULE_RUN = StateMachine(
    "state",
    {
        "succeed": ({"PENDING"}, "SUCCEEDED"),
        "fail": ({"PENDING"}, "FAILED"),
        "skip": ({"PENDING"}, "SKIPPED"),
        "rerun": ({"FAILED", "SKIPPED"}, "PENDING"),
    },
)


@dataclass(kw_only=True)
class Step:
    """One action with the event's values in it, and what came of it."""

    action: str
    parameters: dict[str, Any]
    state: str = "PENDING"
    outcome: str = ""
    error_reason: str = ""
    error_message: str = ""
    end_time: str = ""  # as in JSON


@dataclass(kw_only=True)
class RuleRun:
    """One rule at work on one event.

    Methods that change the state raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no
    entry.

    Attributes:
        turn: Its place among the runs that the same event started.
        number: How many runs the rule had begun before.
        depth: How many rules came before it in a chain.
        event: The event as it travelled.
        position: The step that is next.
        due_time: When it may begin at the earliest.
        start_time: When its first job was promised; None while it waits for its turn.
    """

    id: UUID
    rule: UUID
    event_id: UUID
    turn: int
    number: int
    depth: int
    state: str = "PENDING"
    skip_reason: str | None = None
    event_type: str
    subject: str
    correlation_id: str
    traceparent: str
    event: bytes = field(repr=False)
    steps: list[Step]
    position: int = 0
    retry_count: int = 0
    create_time: datetime
    due_time: datetime
    start_time: datetime | None = None
    end_time: datetime | None = None
    next_attempt_time: datetime | None = None
    retry_until: datetime

    @property
    def name(self) -> str:
        """The run's name, below its rule."""
        return f"rules/{self.rule}/runs/{self.id}"

    @property
    def step(self) -> Step:
        """What is next."""
        return self.steps[self.position]

    def step_id(self) -> UUID:
        """The id of what the next step does: the same however often it is tried, unless it is changed."""
        parameters = json.dumps(self.step.parameters, sort_keys=True)
        return uuid5_of(self.id, f"{self.position} {self.step.action} {parameters}")

    def done(self, outcome: str | None, now: datetime) -> None:
        """The step is done (None: there was nothing to do), and the run with it if it was the last."""
        step = self.step
        step.state = "DONE" if outcome is not None else "NOT_NEEDED"
        step.outcome, step.end_time = outcome or "", now.isoformat()
        step.error_reason = step.error_message = ""
        self.position += 1
        self.next_attempt_time = now
        if self.position == len(self.steps):
            RULE_RUN.move(self, "succeed")
            self._end(now)

    def try_again(self, reason: str, message: str, at: datetime) -> None:
        """The step could not be done now."""
        self._note(reason, message)
        self.retry_count += 1
        self.next_attempt_time = at

    def fail(self, reason: str, message: str, now: datetime) -> None:
        """The step cannot be done; those after it are not."""
        RULE_RUN.move(self, "fail")
        self._note(reason, message)
        self.step.state, self.step.end_time = "FAILED", now.isoformat()
        self._end(now)

    def skip(self, reason: str, now: datetime) -> None:
        """Nothing is done."""
        RULE_RUN.move(self, "skip")
        self.skip_reason = reason
        self._end(now)

    def rerun(self, steps: list[Step], now: datetime, retry_until: datetime) -> None:
        """Goes on: what has been done stays, the rest is as in `steps`."""
        RULE_RUN.move(self, "rerun")
        self.steps = [*self.steps[: self.position], *steps[self.position :]]
        self.skip_reason = self.end_time = None
        self.start_time = self.next_attempt_time = now
        self.retry_until = retry_until
        if self.position == len(self.steps):  # the rule does less now
            RULE_RUN.move(self, "succeed")
            self._end(now)

    def _note(self, reason: str, message: str) -> None:
        self.step.error_reason, self.step.error_message = reason[:100], message[:1000]

    def _end(self, now: datetime) -> None:
        self.end_time, self.next_attempt_time = now, None
