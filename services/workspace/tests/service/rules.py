"""Rules made, started and followed to their end, for the tests of rules."""

from typing import Any

import sqlalchemy as sa

from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityWon
from crm.workspace.v1 import (
    notification_pb2,
    notification_pb2_grpc,
    rule_pb2,
    rule_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest

Rule, Run, RuleStep = rule_pb2.Rule, rule_pb2.RuleRun, rule_pb2.RuleStep
TELL_ME = {"notify": {"recipient": "RULE_OWNER", "text": "{{record.display_name|One}} is won"}}


NEXT = {"set_fields": {"values": {"next_step": "Call {{event.actor|nobody}}"}}}


def stub(workspace: ServiceUnderTest) -> Any:
    return rule_pb2_grpc.RuleServiceStub(workspace.channel)


def runs_stub(workspace: ServiceUnderTest) -> Any:
    return rule_pb2_grpc.RuleRunServiceStub(workspace.channel)


def described(*actions: dict[str, Any], **fields: Any) -> Any:
    values = {"display_name": "Won", "event_types": ["sales.opportunity.won"], **fields}
    return Rule(actions=[Rule.Action(**action) for action in actions or (TELL_ME,)], **values)


async def create(
    workspace: ServiceUnderTest, person: Person, *actions: dict[str, Any], **fields: Any
) -> Any:
    request = rule_pb2.CreateRuleRequest(rule=described(*actions, **fields))
    return await stub(workspace).CreateRule(request, metadata=person.metadata)


async def win(feeds: FeedHost, **attributes: Any) -> Any:
    """An opportunity was won; answers the event."""
    fields = {"stage": "won", "display_name": "Acme", **attributes.pop("record", {})}
    record = Opportunity(name=f"opportunities/{uuid7()}", **fields)
    return await feeds.publish(OpportunityWon(opportunity=record), **attributes)


async def runs(
    workspace: ServiceUnderTest, person: Person, rule: str, filter_: str = ""
) -> list[Any]:
    request = rule_pb2.ListRuleRunsRequest(parent=rule, filter=filter_)
    listed = await runs_stub(workspace).ListRuleRuns(request, metadata=person.metadata)
    return list(listed.runs)


async def ended(
    workspace: ServiceUnderTest, person: Person, rule: str, state: int, count: int = 1
) -> list[Any]:
    """The rule's runs, newest first, once so many are in a state."""

    async def found() -> Any:
        listed = await runs(workspace, person, rule)
        return listed if [r.state for r in listed].count(state) >= count else None

    return list(await eventually(found))


async def told(workspace: ServiceUnderTest, person: Person, kind: str) -> list[Any]:
    answer = await notification_pb2_grpc.NotificationServiceStub(
        workspace.channel
    ).ListNotifications(
        notification_pb2.ListNotificationsRequest(filter=f"kind = {kind}"), metadata=person.metadata
    )
    return list(answer.notifications)


async def applied(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    last = (await feeds.feed.head()).last_seq
    consumed = workspace.running.home.consumed
    await eventually(lambda: all(s.applied_seq >= last for s in consumed.values()))


async def hurry(workspace: ServiceUnderTest) -> None:
    """Everything that waits is due now."""
    due = "UPDATE job SET due_time = now() WHERE lease IS NULL AND kind = 'run_rule'"
    await workspace.database.execute(compile_statement(sa.text(due)))
