"""Tasks: what somebody is to do, when, and what follows when it is done."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID
from zoneinfo import ZoneInfo

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.states import StateMachine
from customer.domain.recurrence import (
    YEARS,
    checked_recurrence,
    checked_zone,
    moved_along,
    next_time,
)

_UNFINISHED = ("OPEN", "IN_PROGRESS")

TASK = StateMachine(
    "state",
    {
        "start": ({"OPEN"}, "IN_PROGRESS"),
        "complete": (_UNFINISHED, "DONE"),
        "cancel": (_UNFINISHED, "CANCELLED"),
        "reopen": ({"DONE", "CANCELLED"}, "OPEN"),
    },
)


@dataclass(kw_only=True)
class Task(Record):
    """Something that its owner is to do.

    Methods that change the state raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no
    entry.

    Attributes:
        related: Names of the records it is about.
        series_start_time: When the first task of the series was due; its rule counts from there.
        next_task: What follows it in its series, once it was done.
        closer: Who did or cancelled it.
    """

    title: str
    description: str | None = None
    state: str = "OPEN"
    priority: str = "NORMAL"
    due_time: datetime | None = None
    remind_time: datetime | None = None
    related: list[str] = field(default_factory=list)
    recurrence: str | None = None
    time_zone: str | None = None
    series_start_time: datetime | None = None
    next_task: UUID | None = None
    close_time: datetime | None = None
    closer: UUID | None = None

    @property
    def unfinished(self) -> bool:
        """Whether there is still something to do."""
        return self.state in _UNFINISHED and self.delete_time is None

    def check(self) -> None:
        """Raises InvalidArgument for a rule or a time zone that is none."""
        self.related = list(dict.fromkeys(self.related))
        self.recurrence = self.recurrence or None
        self.time_zone = self.time_zone or None
        if self.time_zone is not None:
            checked_zone(self.time_zone, field="task.time_zone")
        if self.recurrence is not None:
            if self.remind_time is not None and self.remind_time.year not in YEARS:
                msg = "The time to remind lies too far from any that the task could be due."
                raise InvalidArgument(msg, field="task.remind_time")
            self.recurrence = checked_recurrence(
                self.recurrence, self.due_time, field="task.recurrence", start_field="task.due_time"
            )

    def begin_with_history(self) -> None:
        """Begins as an import tells: perhaps done or cancelled, at a time long past.

        Raises:
            InvalidArgument: An unfinished task has a time at which it was finished.
        """
        if self.state in _UNFINISHED:
            if self.close_time is not None:
                msg = "An unfinished task has no time at which it was finished."
                raise InvalidArgument(msg, field="task.close_time")
            return
        self.close_time = self.close_time or self.create_time
        self.closer = self.owner
        self.record("created")
        kind = "completed" if self.state == "DONE" else "cancelled"
        self.record(kind, effective_time=self.close_time)

    def settle_series(self, before: "Task | None", zone: str) -> None:
        """Notes where a series begins: where its rule was made, or where its first task was moved to."""
        if self.recurrence is None:
            self.series_start_time = None
            return
        self.time_zone = self.time_zone or zone
        is_first = before is not None and before.due_time == before.series_start_time
        changed = before is not None and before.recurrence != self.recurrence
        if self.series_start_time is None or changed or is_first:
            self.series_start_time = self.due_time

    # -- doing

    def start(self) -> None:
        """Somebody begins."""
        TASK.move(self, "start")
        self.record("started")

    def complete(self, now: datetime, by: UUID | None) -> None:
        """It is done."""
        TASK.move(self, "complete")
        self.close_time, self.closer = now, by
        self.record("completed", effective_time=now)

    def cancel(self, now: datetime, by: UUID | None) -> None:
        """It is given up."""
        TASK.move(self, "cancel")
        self.close_time, self.closer = now, by
        self.record("cancelled", effective_time=now)

    def reopen(self) -> None:
        """It is to be done after all."""
        TASK.move(self, "reopen")
        self.close_time = self.closer = None
        self.record("reopened")

    def snooze(self, until: datetime, now: datetime) -> None:
        """Reminds later.

        Raises:
            FailedPrecondition: `TASK_CLOSED`: nothing is left to do.
            InvalidArgument: The time has passed.
        """
        if not self.unfinished:
            msg = "Nobody is reminded of what is done or cancelled; reopen it first."
            raise FailedPrecondition(msg, reason="TASK_CLOSED", metadata={"state": self.state})
        if until <= now:
            msg = "The time to remind must lie in the future."
            raise InvalidArgument(msg, field="remind_time")
        self.remind_time = until
        self.record("snoozed")

    def fall_due(self, kind: str, time: datetime) -> None:
        """Notes that a time came: `due`, or `reminded`."""
        self.record(kind, effective_time=time)

    # -- what follows

    def following(self, task_id: UUID, now: datetime, by: UUID | None) -> "Task | None":
        """The next task of the series, made once; None where there is none.

        It is due at the first time that lies after this one's and after now: what was missed is not made
        up for.
        """
        if self.recurrence is None or self.next_task is not None:
            return None
        assert self.due_time is not None
        assert self.series_start_time is not None
        zone = ZoneInfo(self.time_zone or "UTC")
        after = max(self.due_time, now)
        due = next_time(self.recurrence, self.series_start_time, zone, after)
        if due is None:
            return None
        reminded = self.remind_time
        self.next_task = task_id
        return Task(
            id=task_id,
            create_time=now,
            update_time=now,
            creator=by,
            owner=self.owner,
            team=self.team,
            labels=dict(self.labels),
            custom_fields=dict(self.custom_fields),
            title=self.title,
            description=self.description,
            priority=self.priority,
            due_time=due,
            remind_time=moved_along(reminded, self.due_time, due, zone) if reminded else None,
            related=list(self.related),
            recurrence=self.recurrence,
            time_zone=self.time_zone,
            series_start_time=self.series_start_time,
        )
