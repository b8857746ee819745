"""The log of what rules have done, for whoever may read the rule."""

from collections.abc import Iterable
from datetime import datetime
from typing import Any

from crm.common.v1.feed_pb2 import FeedEvent
from crm.workspace.v1 import rule_pb2
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, NotFound
from crmkit.feed.events import Event
from crmkit.names import parse_name
from workspace.domain.rule import RETRY_FOR
from workspace.domain.rule_run import RuleRun, Step
from workspace.queries.event_values import condition_values
from workspace.queries.visibility import readable
from workspace.storage.collaborator import note_sharing
from workspace.storage.rule import RULES
from workspace.storage.rule_run import find_run, list_runs, lock_run, save_run
from workspace.usecases.rule_actions import Facts, plan
from workspace.usecases.run_rule import promise_run


class RuleRunService:
    """Runs as children of their rule."""

    async def GetRuleRun(self, request: rule_pb2.GetRuleRunRequest, call: Call) -> rule_pb2.RuleRun:
        """One run."""
        return message_of(await _find(call, request.name))

    async def ListRuleRuns(
        self, request: rule_pb2.ListRuleRunsRequest, call: Call
    ) -> rule_pb2.ListRuleRunsResponse:
        """A rule's runs, newest first."""
        rule = await RULES.get(
            call, request.parent, permission="workspace.rules.get", field="parent"
        )
        found, token = await list_runs(call, rule.id, request)
        return rule_pb2.ListRuleRunsResponse(
            runs=[message_of(run) for run in found], next_page_token=token
        )

    async def RerunRuleRun(
        self, request: rule_pb2.RerunRuleRunRequest, call: Call
    ) -> rule_pb2.RuleRun:
        """Goes on with a run that failed or was skipped, as the rule is now."""
        found = await _find(call, request.name)
        rule = await RULES.get(call, found.rule, permission="workspace.rules.get")
        if rule.delete_time is not None:
            msg = "The rule is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        if rule.state != "ACTIVE":
            msg = "The rule is paused; resume it first."
            raise FailedPrecondition(msg, reason="RULE_PAUSED")
        run = await lock_run(call, found.id)
        if run is None:
            raise _not_found(request.name)
        event = await note_sharing(call, Event(FeedEvent.FromString(run.event)))
        rights = call.home.rights
        shown = readable(rights, rule.owner, event, rule.limits)
        if shown is None:
            msg = "The rule's owner may not read the event any more."
            raise FailedPrecondition(msg, reason="EVENT_NOT_READABLE")
        facts = Facts(rule, shown, condition_values(shown), run.number, rights)
        run.rerun(plan(facts), call.now, call.now + RETRY_FOR)
        await save_run(call, run)
        if run.state == "PENDING":
            await promise_run(call, run)
        return message_of(run)


async def _find(call: Call, name: str) -> RuleRun:
    """A run of a rule that the caller may read."""
    parent, separator, child = name.partition("/runs/")
    if not separator:
        raise _not_found(name)
    rule = await RULES.get(call, parent, permission="workspace.rules.get")
    id_ = parse_name(f"runs/{child}", collection="runs", field="name")
    run = await find_run(call.reader, id_)
    if run is None or run.rule != rule.id:
        raise _not_found(name)
    return run


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})


def message_of(run: RuleRun) -> rule_pb2.RuleRun:
    """A run as clients see it."""
    message = rule_pb2.RuleRun(
        name=run.name,
        state=rule_pb2.RuleRun.State.Value(run.state),
        event_id=str(run.event_id),
        event_type=run.event_type,
        subject=run.subject,
        depth=run.depth,
        retry_count=run.retry_count,
    )
    if run.skip_reason is not None:
        message.skip_reason = rule_pb2.RuleRun.SkipReason.Value(run.skip_reason)
    message.create_time.FromDatetime(run.create_time)
    if run.end_time is not None:
        message.end_time.FromDatetime(run.end_time)
    if run.next_attempt_time is not None:
        message.next_attempt_time.FromDatetime(run.next_attempt_time)
    write_steps(run.steps, message.steps)
    return message


def write_steps(steps: Iterable[Step], target: Any) -> None:
    """Steps as clients see them."""
    for step in steps:
        message: rule_pb2.RuleStep = target.add(
            action=step.action,
            state=rule_pb2.RuleStep.State.Value(step.state),
            outcome=step.outcome,
            error_reason=step.error_reason,
            error_message=step.error_message,
        )
        message.parameters.update(step.parameters)
        if step.end_time:
            message.end_time.FromDatetime(datetime.fromisoformat(step.end_time))
