"""Automation rules: what they may do, when they pause, and how far they may set off one another."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.states import StateMachine

RULE = StateMachine(
    "state",
    {
        "pause": ({"ACTIVE"}, "PAUSED"),
        "resume": ({"PAUSED"}, "ACTIVE"),
    },
)

# Failed runs in a row after which a rule is paused.
FAILURES_UNTIL_PAUSED = 10
# How many rules may come before a run in a chain in which one starts the next.
DEEPEST_CHAIN = 4
# So many runs may begin at once; further ones are spread out.
BURST = 1000
SECONDS_A_RUN = 0.5
LONGEST_BACKLOG = timedelta(hours=1)
RETRY_FOR = timedelta(days=1)
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 3600.0


@dataclass(kw_only=True)
class SetFields:
    """Changes fields of the record that the event is about."""

    values: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Assign:
    """Makes the record a user's, or that of a team's users in turn."""

    user: UUID | None = None
    team: UUID | None = None


@dataclass(kw_only=True)
class CreateRecord:
    """Creates a record of a collection."""

    resource: str
    values: dict[str, Any] = field(default_factory=dict)


@dataclass(kw_only=True)
class Notify:
    """Tells the record's owner, the rule's owner, a user, or the record's followers."""

    recipient: str
    user: UUID | None = None
    text: str


@dataclass(kw_only=True)
class CallWebhook:
    """Sends the event to a webhook."""

    webhook: UUID


@dataclass(kw_only=True)
class AddComment:
    """Says something about the record."""

    text: str


@dataclass(kw_only=True)
class CreateTask:
    """Gives the record's owner, the rule's owner or a user a task."""

    assignee: str
    user: UUID | None = None
    title: str
    description: str | None = None
    due_in_hours: int | None = None
    remind_hours_before: int | None = None


@dataclass(kw_only=True)
class Action:
    """Something to do: exactly one of these, by its name in the contract."""

    set_fields: SetFields | None = None
    assign: Assign | None = None
    create_record: CreateRecord | None = None
    notify: Notify | None = None
    call_webhook: CallWebhook | None = None
    add_comment: AddComment | None = None
    create_task: CreateTask | None = None

    @property
    def kind(self) -> str:
        """Which one it is; empty if none."""
        return next((name for name, value in vars(self).items() if value is not None), "")

    @property
    def what(self) -> Any:
        """What it is to do."""
        return getattr(self, self.kind) if self.kind else None


@dataclass(kw_only=True)
class Rule(Record):
    """When one of some events happens and a condition holds, its actions are done in order.

    Methods that change the state raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no
    entry.
    """

    display_name: str
    event_types: list[str] = field(default_factory=list)
    condition: str | None = None
    actions: list[Action] = field(default_factory=list)
    position: int | None = None
    state: str = "ACTIVE"
    pause_reason: str | None = None
    limits: list[str] | None = None  # of the credential with which somebody last said what it does

    @property
    def deed(self) -> tuple[object, ...]:
        """What it does, and when."""
        return self.event_types, self.condition, self.actions

    @property
    def turn(self) -> tuple[bool, int, int]:
        """Where it stands among the rules that one event starts."""
        return self.position is None, self.position or 0, self.id.int

    def check(self) -> None:
        """Raises InvalidArgument for an event type named twice, or an action that is none."""
        if len(set(self.event_types)) < len(self.event_types):
            msg = "rule.event_types names a type twice."
            raise InvalidArgument(msg, field="rule.event_types")
        for index, action in enumerate(self.actions):
            if not action.kind:
                path = f"rule.actions[{index}]"
                msg = f"{path} does not say what to do."
                raise InvalidArgument(msg, reason="INVALID_ACTION", field=path)

    def pause(self, reason: str) -> None:
        """Runs nothing any more."""
        RULE.move(self, "pause")
        self.pause_reason = reason
        self.record("paused")

    def resume(self) -> None:
        """Runs again."""
        RULE.move(self, "resume")
        self.pause_reason = None
        self.record("resumed")


def retry_pause(retries: int) -> timedelta:
    """How long a run waits after so many tries of one action (from 1)."""
    seconds = _FIRST_PAUSE_SECONDS * 2.0 ** min(retries - 1, 30)
    return timedelta(seconds=min(seconds, _LONGEST_PAUSE_SECONDS))


def due(paced_until: datetime, now: datetime) -> datetime:
    """When a run may begin: at once, until a burst is used up.

    Args:
        paced_until: When all runs up to this one would be through, one every `SECONDS_A_RUN`.
        now: When the event arrived.
    """
    return max(now, paced_until - timedelta(seconds=BURST * SECONDS_A_RUN))
