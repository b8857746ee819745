"""Rules and their runs: states by table, pace, retries, and the ids of what they do."""

from datetime import timedelta
from typing import Any

import pytest

from crmkit.clock import now
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from workspace.domain.rule import (
    BURST,
    LONGEST_BACKLOG,
    RETRY_FOR,
    RULE,
    SECONDS_A_RUN,
    Action,
    Notify,
    Rule,
    due,
    retry_pause,
)
from workspace.domain.rule_run import RULE_RUN, RuleRun, Step

TELL = Action(notify=Notify(recipient="RULE_OWNER", text="x"))


def rule(**values: Any) -> Rule:
    fields = {"display_name": "x", "event_types": ["sales.*"], "actions": [TELL], **values}
    return Rule(id=uuid7(), create_time=now(), update_time=now(), **fields)


def run(steps: int = 2, **values: Any) -> RuleRun:
    moment = now()
    fields = {
        "id": uuid7(), "rule": uuid7(), "event_id": uuid7(), "turn": 0, "number": 0, "depth": 0,
        "event_type": "sales.opportunity.won", "subject": "opportunities/x", "correlation_id": "",
        "traceparent": "", "event": b"", "create_time": moment, "due_time": moment,
        "retry_until": moment + RETRY_FOR,
        "steps": [Step(action="notify", parameters={"n": n}) for n in range(steps)],
    }  # fmt: skip
    return RuleRun(**{**fields, **values})


@pytest.mark.parametrize("cell", list(RULE.cells()))
def test_every_state_and_method(cell: Cell) -> None:
    """INVARIANT: a method out of place changes nothing."""
    one = rule(state=cell.state)
    arguments = ["FAILURES"] if cell.method == "pause" else []
    if cell.target is None:
        with pytest.raises(FailedPrecondition):
            getattr(one, cell.method)(*arguments)
        assert one.state == cell.state
    else:
        getattr(one, cell.method)(*arguments)
        assert (one.state, len(one.events)) == (cell.target, 1)


@pytest.mark.parametrize("cell", list(RULE_RUN.cells()))
def test_every_state_of_a_run(cell: Cell) -> None:
    """INVARIANT: what has ended begins anew by `rerun` only."""
    moment = now()
    one = run(1, state=cell.state)
    act: dict[str, Any] = {
        "succeed": lambda: one.done("x", moment),
        "fail": lambda: one.fail("R", "m", moment),
        "skip": lambda: one.skip("LOOP", moment),
        "rerun": lambda: one.rerun([Step(action="notify", parameters={})], moment, moment),
    }
    if cell.target is None:
        with pytest.raises(FailedPrecondition):
            act[cell.method]()
        assert one.state == cell.state
    else:
        act[cell.method]()
        assert one.state == cell.target
        assert (one.end_time is None) == (cell.target == "PENDING")


def test_a_step_has_one_id_however_often_it_is_tried() -> None:
    """INVARIANT: what takes effect by this id takes effect once; another step, or other work, has another."""
    one = run()
    first = one.step_id()
    one.try_again("UNAVAILABLE", "m", now())
    assert one.step_id() == first
    one.done("x", now())
    assert one.step_id() != first
    other = run(id=one.id)
    other.steps[0].parameters["n"] = 7
    assert other.step_id() != first


def test_what_is_rerun_keeps_what_was_done() -> None:
    """The rest is what the rule says now; a rule that says less now has nothing left to do."""
    one, moment = run(3), now()
    one.done("done before", moment)
    one.fail("NOT_FOUND", "gone", moment)
    new = [Step(action="assign", parameters={"n": n}) for n in range(2)]
    one.rerun(new, moment, moment)
    assert [(s.action, s.state) for s in one.steps] == [("notify", "DONE"), ("assign", "PENDING")]
    assert one.position == 1
    one.fail("NOT_FOUND", "gone", moment)
    one.rerun(new[:1], moment, moment)
    assert (one.state, len(one.steps)) == ("SUCCEEDED", 1)


def test_runs_begin_at_once_until_a_burst_is_used_up() -> None:
    """Then at an even pace; too long a wait is more than a rule can keep up with."""
    moment, pace = now(), timedelta(seconds=SECONDS_A_RUN)
    assert due(moment, moment) == due(moment + pace * BURST, moment) == moment
    assert due(moment + pace * (BURST + 10), moment) == moment + pace * 10
    most = BURST + LONGEST_BACKLOG / pace
    assert due(moment + pace * most, moment) - moment == LONGEST_BACKLOG
    assert most > 5000


def test_retries_spread_over_a_day() -> None:
    """Many at first, few later."""
    waited, retries = timedelta(), 0
    while waited < RETRY_FOR:
        retries += 1
        waited += retry_pause(retries)
    assert 25 <= retries <= 40
    assert retry_pause(1) == timedelta(seconds=5)


def test_rules_have_a_stable_order() -> None:
    """By position, then those without one; the older one first."""
    third, first, fourth, second = rule(), rule(position=-1), rule(), rule(position=3)
    assert sorted([fourth, third, second, first], key=lambda r: r.turn) == [
        first, second, third, fourth,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"event_types": ["sales.*", "sales.*"]}, "rule.event_types"),
        ({"actions": [TELL, Action()]}, "rule.actions[1]"),
    ],
)
def test_what_says_nothing_is_refused(values: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        rule(**values).check()
    assert refused.value.violations[0].field == field
