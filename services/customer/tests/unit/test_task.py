"""Tasks: which method is allowed in which state, and what follows."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.states import Cell
from customer.domain.task import TASK, Task

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DUE = datetime(2026, 11, 26, 8, tzinfo=UTC)


def task(**values: Any) -> Task:
    return Task(id=uuid4(), create_time=NOW, update_time=NOW, title="Call back", **values)


def recurring(**values: Any) -> Task:
    made = task(**{"due_time": DUE, "recurrence": "FREQ=DAILY", **values})
    made.check()
    made.settle_series(None, "UTC")
    return made


def act(record: Task, method: str) -> None:
    acts: dict[str, Any] = {
        "start": record.start,
        "complete": lambda: record.complete(NOW, None),
        "cancel": lambda: record.cancel(NOW, None),
        "reopen": record.reopen,
    }
    acts[method]()


@pytest.mark.parametrize("cell", list(TASK.cells()), ids=lambda c: f"{c.method}-{c.state}")
def test_the_table_of_states(cell: Cell) -> None:
    """INVARIANT: a method goes where the table says, or changes nothing."""
    record = task(state=cell.state)
    if cell.target is None:
        with pytest.raises(FailedPrecondition) as refused:
            act(record, cell.method)
        assert refused.value.reason == "ILLEGAL_TRANSITION"
        assert (record.state, record.events) == (cell.state, [])
    else:
        act(record, cell.method)
        assert record.state == cell.target
        assert record.events


def test_who_did_it_and_when_is_kept_until_it_is_reopened() -> None:
    record, ada = task(), uuid4()
    record.complete(NOW, ada)
    assert (record.close_time, record.closer) == (NOW, ada)
    record.reopen()
    assert (record.close_time, record.closer) == (None, None)


@pytest.mark.parametrize("state", ["DONE", "CANCELLED"])
def test_nobody_is_reminded_of_what_is_over(state: str) -> None:
    record = task(state=state)
    with pytest.raises(FailedPrecondition) as refused:
        record.snooze(NOW + timedelta(hours=1), NOW)
    assert refused.value.reason == "TASK_CLOSED"
    assert record.remind_time is None


@pytest.mark.parametrize("state", ["OPEN", "IN_PROGRESS"])
def test_a_reminder_comes_later_and_never_in_the_past(state: str) -> None:
    record = task(state=state, due_time=DUE)
    with pytest.raises(InvalidArgument):
        record.snooze(NOW, NOW)
    record.snooze(NOW + timedelta(hours=1), NOW)
    assert (record.state, record.remind_time, record.due_time) == (
        state, NOW + timedelta(hours=1), DUE,
    )  # fmt: skip


# -- series


def test_a_series_goes_on_with_the_same_task_one_time_later() -> None:
    record = recurring(
        remind_time=DUE - timedelta(hours=2), related=["accounts/x"], priority="HIGH",
        owner=uuid4(), team=uuid4(), labels={"a": "b"},
    )  # fmt: skip
    following = record.following(uuid4(), NOW, None)
    assert following is not None
    assert record.next_task == following.id
    assert following.due_time == DUE + timedelta(days=1)
    assert following.remind_time == DUE + timedelta(days=1, hours=-2)
    kept = ("title", "related", "priority", "owner", "team", "labels", "recurrence", "time_zone")
    assert all(getattr(following, name) == getattr(record, name) for name in kept)
    assert (following.state, following.series_start_time) == ("OPEN", DUE)


def test_one_task_follows_however_often_it_is_done() -> None:
    """INVARIANT: reopened and done again, a task has the follower that it has."""
    record = recurring()
    assert record.following(uuid4(), NOW, None) is not None
    first = record.next_task
    assert record.following(uuid4(), NOW, None) is None
    assert record.next_task == first


def test_what_was_missed_is_not_made_up_for() -> None:
    """Done three days late, the next daily task is due tomorrow and not two days ago."""
    late = DUE + timedelta(days=3, hours=1)
    following = recurring().following(uuid4(), late, None)
    assert following is not None
    assert following.due_time == DUE + timedelta(days=4)


def test_a_series_ends_where_its_rule_does() -> None:
    record = recurring(recurrence="FREQ=DAILY;COUNT=2")
    following = record.following(uuid4(), NOW, None)
    assert following is not None
    assert following.following(uuid4(), NOW, None) is None
    assert task(due_time=DUE).following(uuid4(), NOW, None) is None


def test_moving_one_task_does_not_move_its_series() -> None:
    """Unless it is the first, which begins the series."""
    first = recurring(recurrence="FREQ=WEEKLY")
    moved = recurring(recurrence="FREQ=WEEKLY")
    moved.due_time = DUE + timedelta(days=1)
    moved.settle_series(first, "UTC")
    assert moved.series_start_time == moved.due_time
    second = first.following(uuid4(), NOW, None)
    assert second is not None
    later = second.following(uuid4(), NOW, None)
    second.next_task = None
    assert second.due_time is not None
    before = Task(**vars(second))
    second.due_time += timedelta(days=1)
    second.settle_series(before, "UTC")
    after_the_move = second.following(uuid4(), NOW, None)
    assert later is not None
    assert after_the_move is not None
    assert after_the_move.due_time == later.due_time


def test_a_series_needs_a_due_time_and_a_time_zone_that_exists() -> None:
    for values in (
        {"recurrence": "FREQ=DAILY"},
        {"recurrence": "FREQ=DAILY", "due_time": DUE, "time_zone": "Mars/Olympus"},
        {"recurrence": "FREQ=DAILY", "due_time": DUE, "remind_time": datetime(1, 1, 1, tzinfo=UTC)},
    ):
        with pytest.raises(InvalidArgument):
            task(**values).check()


def test_an_import_may_tell_that_a_task_was_done_and_when() -> None:
    done = task(state="DONE", close_time=DUE, owner=uuid4())
    done.begin_with_history()
    assert [(e.kind, e.effective_time) for e in done.events] == [
        ("created", None),
        ("completed", DUE),
    ]
    assert done.closer == done.owner
    with pytest.raises(InvalidArgument):
        task(close_time=DUE).begin_with_history()
