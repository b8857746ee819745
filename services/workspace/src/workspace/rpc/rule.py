"""Automation rules: paused, resumed, and tried on what has happened."""

from crm.workspace.v1 import rule_pb2
from crmkit.call import Call
from crmkit.errors import FailedPrecondition
from crmkit.preparing import prepare
from crmkit.resources import draft
from workspace.domain.rule import Rule
from workspace.rpc.rule_run import write_steps
from workspace.storage.rule import RULES, note_good_run
from workspace.storage.rule_run import save_run, waiting_runs
from workspace.usecases.run_rule import promise_run
from workspace.usecases.try_rule import Tried, try_rule


class RuleService:
    """Rules; the standard methods come from the kit."""

    async def PauseRule(self, request: rule_pb2.PauseRuleRequest, call: Call) -> rule_pb2.Rule:
        """Runs nothing until it is resumed."""
        async with RULES.changing(call, request) as rule:
            rule.pause("BY_PERSON")
        return _message(rule)

    async def ResumeRule(self, request: rule_pb2.ResumeRuleRequest, call: Call) -> rule_pb2.Rule:
        """Runs again, first what has waited."""
        async with RULES.changing(call, request) as rule:
            rule.resume()
            known = call.home.rights.users.get(rule.owner) if rule.owner else None
            if known is None or not known.active:
                msg = "Its owner may not sign in any more; make a rule of your own."
                raise FailedPrecondition(msg, reason="OWNER_LEFT")
        await note_good_run(call, rule.id)
        for run in await waiting_runs(call, rule.id):
            run.next_attempt_time = max(call.now, run.due_time)
            await save_run(call, run)
            await promise_run(call, run)
        return _message(rule)

    async def TestRule(
        self, request: rule_pb2.TestRuleRequest, call: Call
    ) -> rule_pb2.TestRuleResponse:
        """What a rule would do with recent events."""
        rule: Rule = await draft(RULES, call, request.rule)
        await prepare(RULES, call, rule, None, RULES.codec.writable)
        tried = await try_rule(call, rule)
        return rule_pb2.TestRuleResponse(results=[_result(one) for one in tried])


def _message(rule: Rule) -> rule_pb2.Rule:
    message: rule_pb2.Rule = RULES.message(rule)
    return message


def _result(tried: Tried) -> rule_pb2.RuleTestResult:
    event = tried.event
    message = rule_pb2.RuleTestResult(
        event_id=str(event.event_id),
        event_type=event.routing_key,
        subject=event.subject,
        holds=tried.holds,
        condition_error=tried.condition_error,
    )
    message.event_time.FromDatetime(event.time)
    write_steps(tried.steps, message.steps)
    return message
