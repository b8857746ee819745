"""Working off one run of a rule: one step a job, read and asked without a transaction, then written.

At least once: a process that dies after a step took effect does it again, with the same id, which changes
nothing. The outcome, and the promise of what comes next, are one transaction with the end of the job.
"""

from dataclasses import replace
from typing import Any
from uuid import UUID

import structlog

from crmkit.access import Principal
from crmkit.call import Call
from crmkit.errors import (
    Aborted,
    DeadlineExceeded,
    Failure,
    PermissionDenied,
    ResourceExhausted,
    Unauthenticated,
    Unavailable,
)
from crmkit.jobs import enqueue
from workspace.domain import rule as rules
from workspace.domain.rule import Rule
from workspace.domain.rule_run import RuleRun
from workspace.storage.rule import note_failed_run, note_good_run, rule_by_id
from workspace.storage.rule_run import find_run, lock_run, save_run, start_next_run
from workspace.usecases.pause_rule import pause_rule
from workspace.usecases.rule_actions import KINDS, Work

RUN_RULE = "run_rule"
# What may go well later without anybody mending it. Another service may hear later of a new user.
_TRANSIENT = (Aborted, DeadlineExceeded, ResourceExhausted, Unauthenticated, Unavailable)
_log = structlog.get_logger("crm.rules")


async def promise_run(call: Call, run: RuleRun) -> None:
    """Promises the next step of a run."""
    arguments = {"run": str(run.id), "position": run.position, "retry": run.retry_count}
    await enqueue(call.tx, RUN_RULE, arguments, run.next_attempt_time or call.now)


async def begin_next(call: Call, event_id: UUID) -> None:
    """Begins the next run of an event; the others wait until it has been tried."""
    run = await start_next_run(call, event_id)
    if run is not None:
        run.next_attempt_time = max(call.now, run.due_time)
        await save_run(call, run)
        await promise_run(call, run)


async def run_rule(call: Call, arguments: dict[str, Any]) -> None:
    """The job: one step, and a promise of the next one."""
    database = call.home.database
    run = await find_run(database, UUID(arguments["run"]))
    if run is None or not _is_next(run, arguments):
        return
    rule = await rule_by_id(database, run.rule)
    if rule is None or rule.delete_time is not None or rule.state != "ACTIVE":
        await _leave(call, run, gone=rule is None or rule.delete_time is not None)
        return
    try:
        principal = _owner(call, rule)
    except Failure:
        await pause_rule(call, rule.id, "OWNER_LEFT")
        await _leave(call, run, gone=False)
        return
    outcome, failure = await _ask_others(call, rule, run, principal)
    locked = await lock_run(call, run.id)
    if locked is None or not _is_next(locked, arguments):
        return
    if failure is None:
        await _take_effect(call, rule, locked, outcome)
    else:
        await _failed(call, rule, locked, failure)
    await save_run(call, locked)
    if locked.state == "PENDING":
        await promise_run(call, locked)
    if (run.position, run.retry_count) == (0, 0):
        await begin_next(call, run.event_id)


def _is_next(run: RuleRun, arguments: dict[str, Any]) -> bool:
    """False for a job that another one of the same run has overtaken."""
    at = (arguments["position"], arguments["retry"])
    return run.state == "PENDING" and (run.position, run.retry_count) == at


def _owner(call: Call, rule: Rule) -> Principal:
    """Who acts; raises Unauthenticated if they may not sign in any more."""
    assert rule.owner is not None
    return call.home.rights.principal(rule.owner).limited_to(rule.limits)


async def _leave(call: Call, run: RuleRun, *, gone: bool) -> None:
    """Does nothing now: resuming a rule promises its runs anew; a deleted one does no more."""
    locked = await lock_run(call, run.id)
    if locked is not None and locked.state == "PENDING" and gone:
        locked.skip("RULE_DELETED", call.now)
        await save_run(call, locked)
    if (run.position, run.retry_count) == (0, 0):
        await begin_next(call, run.event_id)


async def _ask_others(
    call: Call, rule: Rule, run: RuleRun, principal: Principal
) -> tuple[str | None, Failure | None]:
    """Lets another service do the step, as the rule's owner; nothing if the step is not for others."""
    if not KINDS[run.step.action].remote:
        return None, None
    acting = replace(
        call,
        principal=principal,
        correlation_id=run.correlation_id,
        causation_id=str(run.event_id),
        traceparent=run.traceparent,
    )
    try:
        return await KINDS[run.step.action].perform(Work(acting, rule, run)), None
    except Failure as failure:
        return None, failure


async def _take_effect(call: Call, rule: Rule, run: RuleRun, outcome: str | None) -> None:
    """Notes the step as done; one that is for us is done here."""
    kind = KINDS[run.step.action]
    try:
        if not kind.remote:
            outcome = await kind.perform(Work(call, rule, run))
    except Failure as failure:
        await _failed(call, rule, run, failure)
        return
    run.done(outcome, call.now)
    if run.state == "SUCCEEDED":
        await note_good_run(call, rule.id)


async def _failed(call: Call, rule: Rule, run: RuleRun, failure: Failure) -> None:
    reason, message = failure.reason, failure.message
    _log.info("a rule's step failed", run=run.name, action=run.step.action, reason=reason)
    if isinstance(failure, _TRANSIENT):
        again = call.now + rules.retry_pause(run.retry_count + 1)
        if again <= run.retry_until:
            run.try_again(reason, message, again)
            return
    run.fail(reason, message, call.now)
    failures = await note_failed_run(call, rule.id)
    if isinstance(failure, PermissionDenied) and reason == PermissionDenied.default_reason:
        await pause_rule(call, rule.id, "RIGHTS_LOST")
    elif failures >= rules.FAILURES_UNTIL_PAUSED:
        await pause_rule(call, rule.id, "FAILURES")
