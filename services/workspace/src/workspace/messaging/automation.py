"""Events that start rules: which ones, how deep in a chain, and when."""

from uuid import UUID

from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.feed.events import Event
from crmkit.ids import uuid5_of
from workspace.domain import rule as rules
from workspace.domain.condition import holds
from workspace.domain.rule import Rule
from workspace.domain.rule_run import RuleRun
from workspace.domain.webhook import matches
from workspace.queries.event_values import condition_values
from workspace.queries.visibility import may_read_some, readable
from workspace.storage.rule import active_rules, pace
from workspace.storage.rule_run import depth_before, depth_of_causes, insert_run
from workspace.usecases.pause_rule import pause_rule
from workspace.usecases.rule_actions import Facts, plan
from workspace.usecases.run_rule import begin_next


async def start_rules(event: Event, call: Call) -> None:
    """Begins a run of every rule that the event starts; what an import writes starts none."""
    if event.imported:
        return
    listening = [
        rule
        for rule in await active_rules(call, event.time)
        if any(matches(pattern, event.routing_key) for pattern in rule.event_types)
    ]
    started = [rule for rule in listening if await _starts(call, rule, event)]
    for turn, rule in enumerate(sorted(started, key=lambda r: r.turn)):
        await _begin(call, rule, event, turn)
    if started:
        await begin_next(call, event.event_id)


async def _starts(call: Call, rule: Rule, event: Event) -> bool:
    """Whether the rule's owner may read the event and the condition holds."""
    rights = call.home.rights
    shown = readable(rights, rule.owner, event, rule.limits)
    if shown is not None:
        try:
            return holds(rule.condition, condition_values(shown))
        except Failure:  # it compares what cannot be compared in this event
            return False
    assert rule.owner is not None
    try:
        principal = rights.principal(rule.owner).limited_to(rule.limits)
    except Failure:
        await pause_rule(call, rule.id, "OWNER_LEFT")
        return False
    if not may_read_some(principal, rule.event_types):
        await pause_rule(call, rule.id, "RIGHTS_LOST")
    return False


async def _begin(call: Call, rule: Rule, event: Event, turn: int) -> None:
    number, paced_until = await pace(call, rule.id)
    shown = readable(call.home.rights, rule.owner, event, rule.limits)
    assert shown is not None  # else it would not have started
    facts = Facts(rule, shown, condition_values(shown), number, call.home.rights)
    run = RuleRun(
        id=uuid5_of(rule.id, str(event.event_id)),
        rule=rule.id,
        event_id=event.event_id,
        turn=turn,
        number=number,
        depth=await _depth(call, rule, event),
        event_type=event.routing_key,
        subject=event.subject,
        correlation_id=event.correlation_id,
        traceparent=event.traceparent,
        event=event.wire.SerializeToString(),
        steps=plan(facts),
        create_time=call.now,
        due_time=rules.due(paced_until, call.now),
        retry_until=call.now + rules.RETRY_FOR,
    )
    refused = _refused(run)
    if refused:
        run.skip(refused, call.now)
        await pause_rule(call, rule.id, refused)
    await insert_run(call, run)


async def _depth(call: Call, rule: Rule, event: Event) -> int:
    """How many rules came before, one starting the next.

    Nothing that a person did has a cause, and nothing that they did with a bulk action another one.
    """
    if not event.causation_id or event.causation_id.startswith("bulkActions/"):
        return 0
    cause = await depth_of_causes(call, UUID(event.causation_id))
    before = await depth_before(call, rule.id, event.correlation_id, event.subject)
    return 1 + max(cause, before)


def _refused(run: RuleRun) -> str:
    """Why a run must not begin; empty if it may."""
    if run.depth > rules.DEEPEST_CHAIN:
        return "LOOP"
    if run.due_time - run.create_time > rules.LONGEST_BACKLOG:
        return "TOO_MANY_RUNS"
    return ""
