"""Automation rules over gRPC: what starts them, what they do, as whom, and what happens when it fails."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
import pytest_asyncio
import sqlalchemy as sa
from google.type.money_pb2 import Money

from crm.identity.v1.user_pb2 import User, UserDeactivated
from crm.marketing.v1.campaign_pb2 import Campaign, CampaignCreated
from crm.sales.v1.follower_pb2 import FollowerAdded
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityUpdated, OpportunityWon
from crm.sales.v1.product_pb2 import Product, ProductCreated
from crm.workspace.v1 import (
    notification_pb2,
    notification_pb2_grpc,
    rule_pb2,
    rule_pb2_grpc,
    webhook_pb2,
    webhook_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.errors import InvalidArgument, NotFound, PermissionDenied, Unavailable
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from workspace.domain.rule import DEEPEST_CHAIN, FAILURES_UNTIL_PAUSED
from workspace.storage.rule_run import find_run
from workspace.usecases.housekeeping import tidy
from workspace.usecases.run_rule import run_rule

from .conftest import Endpoint, Owners

Rule, Run, RuleStep = rule_pb2.Rule, rule_pb2.RuleRun, rule_pb2.RuleStep
Notification = notification_pb2.Notification
TELL_ME = {"notify": {"recipient": "RULE_OWNER", "text": "{{record.display_name|One}} is won"}}
NEXT = {"set_fields": {"values": {"next_step": "Call {{event.actor|nobody}}"}}}
TICKET = {
    "create_record": {"resource": "tickets", "values": {"subject": "Welcome {{record.name}}"}}
}


@pytest_asyncio.fixture(autouse=True)
async def nothing_from_before(workspace: ServiceUnderTest) -> None:
    """Rules of other tests would start too."""
    for statement in (
        "UPDATE rules SET state = 'PAUSED'",
        "DELETE FROM job WHERE kind = 'run_rule' AND lease IS NULL",
    ):
        await workspace.database.execute(compile_statement(sa.text(statement)))


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


async def get(workspace: ServiceUnderTest, person: Person, rule: str) -> Any:
    request = rule_pb2.GetRuleRequest(name=rule)
    return await stub(workspace).GetRule(request, metadata=person.metadata)


async def paused(workspace: ServiceUnderTest, person: Person, rule: str) -> Any:
    async def found() -> Any:
        read = await get(workspace, person, rule)
        return read if read.state == Rule.PAUSED else None

    return await eventually(found)


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


# -- doing


async def test_a_rule_does_its_actions_in_order_as_its_owner(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: each once, with an id of its own, on behalf of the owner, caused by the event."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, NEXT, TICKET, TELL_ME)
    event = await win(feeds, actor="users/x", correlation_id="c1")
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    update, make = owners.asked
    assert (update.method, make.method) == ("UpdateOpportunity", "CreateTicket")
    assert update.request.opportunity.name == event.subject
    assert update.request.opportunity.next_step == "Call users/x"
    assert list(update.request.update_mask.paths) == ["next_step"]
    assert make.request.ticket.subject == f"Welcome {event.subject}"
    assert update.request.request_id != make.request.request_id
    for asked in owners.asked:
        assert asked.metadata["x-on-behalf-of"] == ada.name
        assert asked.metadata["x-causation-id"] == str(event.event_id)
        assert asked.metadata["x-request-id"] == "c1"
    assert [(s.action, s.state) for s in run.steps] == [
        ("set_fields", RuleStep.DONE), ("create_record", RuleStep.DONE), ("notify", RuleStep.DONE),
    ]  # fmt: skip
    assert [s.outcome.split("/")[0] for s in run.steps] == [
        "opportunities",
        "tickets",
        "notifications",
    ]
    (note,) = await told(workspace, ada, "RULE")
    assert (note.text, note.subject) == ("Acme is won", event.subject)
    assert note.name == run.steps[2].outcome
    read = await runs_stub(workspace).GetRuleRun(
        rule_pb2.GetRuleRunRequest(name=run.name), metadata=ada.metadata
    )
    assert read == run


async def test_only_what_is_wanted_starts_a_rule(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """By type, condition and the owner's scope; nothing imported, from before, or while paused."""
    await win(feeds)
    await applied(workspace, feeds)
    ada = await workspace.person(("workspace.*", "OWN"), ("sales.*", "OWN"))
    rule = await create(workspace, ada, condition="record.amount.units > 1000")
    large, small = {"amount": Money(units=5000)}, {"amount": Money(units=5)}
    await win(feeds, owner=ada.id, record=small)
    await win(feeds, owner=uuid7(), record=large)
    await win(feeds, owner=ada.id, record=large, imported=True)
    wanted = await win(feeds, owner=ada.id, record=large)
    await feeds.publish(ProductCreated(product=Product(name=f"products/{uuid7()}")))
    await applied(workspace, feeds)
    pause = rule_pb2.PauseRuleRequest(name=rule.name)
    await stub(workspace).PauseRule(pause, metadata=ada.metadata)
    await win(feeds, owner=ada.id, record=large)
    await applied(workspace, feeds)
    assert [r.event_id for r in await runs(workspace, ada, rule.name)] == [str(wanted.event_id)]


async def test_a_repeat_after_the_effect_changes_nothing(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: an answer that is lost, and a job that is run again, take effect once."""
    owners.refusals, owners.after_effect = [Unavailable("lost"), Unavailable("lost")], True
    ada = await workspace.person("*")
    rule = await create(workspace, ada, TICKET)
    await win(feeds)
    for attempts in (1, 2):

        async def tried(attempts: int = attempts) -> bool:
            (run,) = await runs(workspace, ada, rule.name) or [Run()]
            return bool(run.retry_count == attempts)

        await eventually(tried)
        await hurry(workspace)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert (len(owners.asked), len(owners.effects)) == (3, 1)
    stale = {"run": run.name.rpartition("/")[2], "position": 0, "retry": 0}
    call = new_call(workspace.running.home, service_principal("workspace"))
    await run_rule(call, stale)
    await call.tx.end()
    assert len(owners.asked) == 3


async def test_a_failure_that_may_pass_is_tried_again_later(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """Each pause is longer; the log says why."""
    owners.refusals = [Unavailable("away", reason="SERVICE_UNAVAILABLE")]
    ada = await workspace.person("*")
    rule = await create(workspace, ada, NEXT, TELL_ME)
    await win(feeds)

    async def waiting() -> Any:
        found = await runs(workspace, ada, rule.name)
        return found if found and found[0].retry_count else None

    (run,) = await eventually(waiting)
    assert (run.state, run.steps[0].error_reason) == (Run.PENDING, "SERVICE_UNAVAILABLE")
    wait = run.next_attempt_time.ToDatetime() - run.create_time.ToDatetime()
    assert timedelta(seconds=5) <= wait < timedelta(seconds=10)
    await hurry(workspace)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert (run.steps[0].error_reason, run.retry_count) == ("", 1)


async def test_a_failure_ends_the_run_which_is_gone_on_with_by_hand(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: what has been done is not done again; the rest is what the rule says by then."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, TELL_ME, NEXT, TICKET)
    owners.refusals = [NotFound("There is no such record.")]
    await win(feeds)
    (run,) = await ended(workspace, ada, rule.name, Run.FAILED)
    assert [s.state for s in run.steps] == [RuleStep.DONE, RuleStep.FAILED, RuleStep.PENDING]
    assert (run.steps[1].error_reason, run.steps[1].error_message) == (
        "RECORD_NOT_FOUND", "There is no such record.",
    )  # fmt: skip
    assert run.HasField("end_time")
    changed = described(TELL_ME, {"set_fields": {"values": {"next_step": "Write"}}}, name=rule.name)
    await stub(workspace).UpdateRule(
        rule_pb2.UpdateRuleRequest(rule=changed, update_mask={"paths": ["actions"]}),
        metadata=ada.metadata,
    )
    again = rule_pb2.RerunRuleRunRequest(name=run.name, request_id=str(uuid7()))
    for _ in range(2):  # a repeat of the request answers the first result
        rerun = await runs_stub(workspace).RerunRuleRun(again, metadata=ada.metadata)
        assert rerun.state == Run.PENDING
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert owners.asked[-1].request.opportunity.next_step == "Write"
    assert (len(run.steps), len(owners.effects), len(await told(workspace, ada, "RULE"))) == (
        2,
        1,
        1,
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await runs_stub(workspace).RerunRuleRun(
            rule_pb2.RerunRuleRunRequest(name=run.name), metadata=ada.metadata
        )
    assert details_of(refused.value)["reason"] == "ILLEGAL_TRANSITION"


async def test_rules_that_one_event_starts_keep_their_order(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """By position, then by age; one that fails does not hold up the others."""
    ada = await workspace.person("*")
    owners.refusals = [Unavailable("away")]
    marks = ["c", "a", "d", "b"]
    positions = {"a": 1, "b": 2}
    made = {}
    for mark in marks:
        action = {"set_fields": {"values": {"next_step": mark}}}
        fields = {"position": positions[mark]} if mark in positions else {}
        made[mark] = await create(workspace, ada, action, **fields)
    await win(feeds)
    for mark in "bcd":
        await ended(workspace, ada, made[mark].name, Run.SUCCEEDED)
    assert [a.request.opportunity.next_step for a in owners.asked] == ["a", "b", "c", "d"]
    await hurry(workspace)
    await ended(workspace, ada, made["a"].name, Run.SUCCEEDED)


# -- kinds of actions


async def test_records_are_assigned_to_a_teams_users_in_turn(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """To every active user of the team; to one user, if the rule says so."""
    team = await workspace.team()
    members = {(await workspace.person(team=team)).name for _ in range(3)}
    ada = await workspace.person("*")
    rule = await create(workspace, ada, {"assign": {"team": f"teams/{team}"}})
    for _ in range(6):
        await win(feeds)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED, 6)
    chosen = [a.request.opportunity.owner for a in owners.asked]
    assert all(chosen.count(member) == 2 for member in members)
    empty = await create(workspace, ada, {"assign": {"team": f"teams/{await workspace.team()}"}})
    await win(feeds)
    (run,) = await ended(workspace, ada, empty.name, Run.FAILED)
    assert run.steps[0].error_reason == "TEAM_EMPTY"


async def test_only_who_may_read_the_record_is_told(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: a rule does not carry a record's values to those who may not read it."""
    ada, bob = await workspace.person("*"), await workspace.person(("sales.*", "OWN"))
    to_bob = {"notify": {"recipient": "USER", "user": bob.name, "text": "x"}}
    to_owner = {"notify": {"recipient": "RECORD_OWNER", "text": "y"}}
    rule = await create(workspace, ada, to_bob, to_owner)
    await win(feeds, owner=ada.id)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert [s.state for s in run.steps] == [RuleStep.NOT_NEEDED, RuleStep.DONE]
    await win(feeds, owner=bob.id)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED, 2)
    assert sorted(n.text for n in await told(workspace, bob, "RULE")) == ["x", "y"]
    assert [n.text for n in await told(workspace, ada, "RULE")] == ["y"]


async def test_what_is_hidden_starts_nothing_and_is_told_nobody(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: neither the owner's condition nor the text to others knows more than they may see."""
    campaigns = ("marketing.campaigns.get", "marketing.events.list")
    ada, bob = await workspace.person("*"), await workspace.person(*campaigns, "workspace.*")
    tell = {
        person: {"notify": {"recipient": "USER", "user": person.name, "text": "{{record.budget.units|?}}"}}
        for person in (ada, bob)
    }  # fmt: skip
    event_types = ["marketing.campaign.created"]
    rule = await create(workspace, ada, tell[ada], tell[bob], event_types=event_types)
    guess = "record.budget.units > 1000"
    guessing = await create(workspace, bob, TELL_ME, event_types=event_types, condition=guess)
    campaign = Campaign(name=f"campaigns/{uuid7()}", budget=Money(currency_code="EUR", units=5000))
    await feeds.publish(CampaignCreated(campaign=campaign), owner=ada.id)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert [n.text for n in await told(workspace, ada, "RULE")] == ["5000"]
    assert [n.text for n in await told(workspace, bob, "RULE")] == ["?"]
    assert await runs(workspace, bob, guessing.name) == []


async def test_followers_are_told_and_something_is_said(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """Everybody who follows the record and may read it, each once; the comment is the owner's."""
    ada, bob = await workspace.person("*"), await workspace.person("sales.*")
    outside = await workspace.person(("sales.*", "OWN"))
    tell = {"notify": {"recipient": "FOLLOWERS", "text": "won"}}
    say = {"add_comment": {"text": "Well done, @{{event.actor}}"}}
    rule = await create(workspace, ada, tell, say)
    record = Opportunity(name=f"opportunities/{uuid7()}")
    for person in (bob, outside):
        follow = FollowerAdded(parent=record.name, user=person.name)
        await feeds.publish(follow, subject=f"{record.name}/followers/{person.id}")
    await feeds.publish(OpportunityWon(opportunity=record), owner=ada.id, actor=bob.name)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    for person, texts in ((ada, ["won"]), (bob, ["won"]), (outside, [])):
        assert [n.text for n in await told(workspace, person, "RULE")] == texts
    (said,) = owners.asked
    assert (said.method, said.request.parent) == ("CreateComment", record.name)
    assert said.request.comment.text == f"Well done, @{bob.name}"
    assert run.steps[1].outcome.startswith(f"{record.name}/comments/")


async def test_a_rule_sends_an_event_to_a_webhook_of_its_owner(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """Whatever the webhook itself listens to; another's webhook is refused."""
    ada, bob = await workspace.person("*"), await workspace.person("*")
    hooks = webhook_pb2_grpc.WebhookServiceStub(workspace.channel)
    hook = await hooks.CreateWebhook(
        webhook_pb2.CreateWebhookRequest(
            webhook={"display_name": "x", "url": endpoint.url, "event_types": ["support.*"]}
        ),
        metadata=ada.metadata,
    )
    call = {"call_webhook": {"webhook": hook.name}}
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(workspace, bob, call)
    assert details_of(refused.value)["fields"] == ["rule.actions[0].call_webhook.webhook"]
    rule = await create(workspace, ada, call)
    event = await win(feeds)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert run.steps[0].outcome.startswith(f"{hook.name}/deliveries/")
    await eventually(lambda: endpoint.heard)
    assert event.subject.encode() in endpoint.heard[0][1]


# -- when it must not go on


async def test_a_rule_that_fails_again_and_again_is_paused_and_goes_on_when_resumed(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: its owner is told; what happened meanwhile is not run."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, NEXT)
    owners.refusals = [InvalidArgument("no") for _ in range(FAILURES_UNTIL_PAUSED)]
    for _ in range(FAILURES_UNTIL_PAUSED):
        await win(feeds)
    read = await paused(workspace, ada, rule.name)
    assert read.pause_reason == Rule.FAILURES
    (note,) = await told(workspace, ada, "RULE_PAUSED")
    assert (note.subject, dict(note.parameters)) == (
        rule.name, {"rule": rule.name, "reason": "FAILURES"},
    )  # fmt: skip
    events = await workspace.events(rule.name, count=2)
    assert events[-1].routing_key == "workspace.rule.paused"
    await win(feeds)
    await applied(workspace, feeds)
    found = await runs(workspace, ada, rule.name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await runs_stub(workspace).RerunRuleRun(
            rule_pb2.RerunRuleRunRequest(name=found[0].name), metadata=ada.metadata
        )
    assert details_of(refused.value)["reason"] == "RULE_PAUSED"
    resume = rule_pb2.ResumeRuleRequest(name=rule.name)
    await stub(workspace).ResumeRule(resume, metadata=ada.metadata)
    await win(feeds)
    found = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert len(found) == FAILURES_UNTIL_PAUSED + 1


async def test_what_waited_is_done_after_the_pause(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """A run that waits to be tried again waits for its rule too; a deleted rule does no more."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, NEXT)
    owners.refusals = [Unavailable("away")]
    await win(feeds)
    await eventually(lambda: owners.asked)
    pause, resume = (
        rule_pb2.PauseRuleRequest(name=rule.name),
        rule_pb2.ResumeRuleRequest(name=rule.name),
    )
    await stub(workspace).PauseRule(pause, metadata=ada.metadata)
    await hurry(workspace)
    await _no_jobs(workspace)
    assert len(owners.asked) == 1
    await stub(workspace).ResumeRule(resume, metadata=ada.metadata)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    owners.refusals = [Unavailable("away")]
    await win(feeds)
    await eventually(lambda: len(owners.asked) == 3)
    delete = rule_pb2.DeleteRuleRequest(name=rule.name)
    await stub(workspace).DeleteRule(delete, metadata=ada.metadata)
    await hurry(workspace)
    found = await ended(workspace, ada, rule.name, Run.SKIPPED)
    assert found[0].skip_reason == Run.RULE_DELETED


async def _no_jobs(workspace: ServiceUnderTest) -> None:
    count = compile_statement(sa.text("SELECT count(*) FROM job WHERE kind = 'run_rule'"))

    async def none() -> bool:
        return await workspace.database.fetch_one(count) == (0,)

    await eventually(none)


async def test_a_rule_pauses_when_its_owner_leaves(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: nothing is done in the name of who has left; who may resume it is told, and cannot."""
    ada, boss = await workspace.person("*"), await workspace.person("*")
    rule = await create(workspace, ada)
    await feeds.publish(UserDeactivated(user=User(name=ada.name, state=User.DEACTIVATED)))
    read = await paused(workspace, boss, rule.name)
    assert read.pause_reason == Rule.OWNER_LEFT
    assert rule.name in [n.subject for n in await told(workspace, boss, "RULE_PAUSED")]
    resume = rule_pb2.ResumeRuleRequest(name=rule.name)

    async def refused() -> bool:
        try:
            await stub(workspace).ResumeRule(resume, metadata=boss.metadata)
        except grpc.aio.AioRpcError as error:
            return bool(details_of(error)["reason"] == "OWNER_LEFT")
        return False

    assert await refused()


async def test_a_rule_pauses_when_its_owner_loses_rights(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: it acts with the rights of now: to read what starts it, and to do what it does."""
    ada, bob = await workspace.person("*"), await workspace.person("*")
    acting, reading = await create(workspace, ada, NEXT), await create(workspace, bob)
    owners.refusals = [PermissionDenied("The permission is needed.")]
    await workspace.database.execute(
        compile_statement(
            sa.text(
                'UPDATE known_role SET grants = \'[{"permission": "workspace.*", "record_scope": "ALL"}]\''
                " WHERE id = ANY (SELECT unnest(roles) FROM known_user WHERE id = :id)"
            )
        ),
        {"id": bob.id},
    )
    await workspace.running.home.rights.reload()
    await win(feeds)
    for rule, person in ((acting, ada), (reading, bob)):
        read = await paused(workspace, person, rule.name)
        assert read.pause_reason == Rule.RIGHTS_LOST
        assert len(await told(workspace, person, "RULE_PAUSED")) == 1
    (run,) = await ended(workspace, ada, acting.name, Run.FAILED)
    assert run.steps[0].error_reason == "PERMISSION_DENIED"
    assert not await runs(workspace, bob, reading.name)


async def test_what_a_bulk_action_changes_starts_rules_as_what_a_person_changes(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: a cause that is no event is not taken for one, and nothing is parked."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, event_types=["sales.opportunity.updated"])
    record = Opportunity(name=f"opportunities/{uuid7()}")
    changed = OpportunityUpdated(opportunity=record, changed_fields=["stage"])
    await feeds.publish(changed, causation_id=f"bulkActions/{uuid7()}", correlation_id="bulk")
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert run.depth == 0


async def test_rules_that_set_off_one_another_are_stopped(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: a chain ends, whether each record is new or by way of another service's reaction."""
    ada = await workspace.person("*")
    direct = await create(workspace, ada, event_types=["sales.opportunity.updated"])

    async def changed(name: str, cause: str) -> Any:
        record = OpportunityUpdated(opportunity=Opportunity(name=name), changed_fields=["stage"])
        return await feeds.publish(record, causation_id=cause, correlation_id="chain")

    cause = ""
    for _ in range(DEEPEST_CHAIN + 2):
        event = await changed(f"opportunities/{uuid7()}", cause)
        cause = str(event.event_id)
    read = await paused(workspace, ada, direct.name)
    assert read.pause_reason == Rule.LOOP
    found = await runs(workspace, ada, direct.name)
    assert sorted(r.depth for r in found) == list(range(DEEPEST_CHAIN + 2))
    (skipped,) = await runs(workspace, ada, direct.name, "skip_reason = LOOP")
    assert (skipped.state, skipped.depth) == (Run.SKIPPED, DEEPEST_CHAIN + 1)
    # What a consumer did in between leaves no run: the same record and course of things show the chain.
    indirect = await create(workspace, ada, event_types=["sales.opportunity.updated"])
    name = f"opportunities/{uuid7()}"
    for _ in range(DEEPEST_CHAIN + 2):
        await changed(name, str(uuid7()))
    await paused(workspace, ada, indirect.name)


async def test_changes_of_people_are_no_loop(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    """Also many of one record in one course of things."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, event_types=["sales.opportunity.updated"])
    record = OpportunityUpdated(opportunity=Opportunity(name=f"opportunities/{uuid7()}"))
    for _ in range(DEEPEST_CHAIN + 3):
        await feeds.publish(record, correlation_id="one request")
    await ended(workspace, ada, rule.name, Run.SUCCEEDED, DEEPEST_CHAIN + 3)


async def test_a_rule_that_cannot_keep_up_is_paused(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """What it could not do is in the log, and can be run by hand."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada)
    await win(feeds)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    full = "UPDATE rule_health SET paced_until = now() + interval '2 hours' WHERE rule = :id"
    await workspace.database.execute(compile_statement(sa.text(full)), {"id": UUID(rule.uid)})
    await win(feeds)
    read = await paused(workspace, ada, rule.name)
    assert read.pause_reason == Rule.TOO_MANY_RUNS
    (run,) = await runs(workspace, ada, rule.name, "state = SKIPPED")
    assert run.skip_reason == Run.TOO_MANY_RUNS
    await stub(workspace).ResumeRule(
        rule_pb2.ResumeRuleRequest(name=rule.name), metadata=ada.metadata
    )
    await runs_stub(workspace).RerunRuleRun(
        rule_pb2.RerunRuleRunRequest(name=run.name), metadata=ada.metadata
    )
    await ended(workspace, ada, rule.name, Run.SUCCEEDED, 2)


# -- trying


async def test_a_rule_is_tried_on_what_has_happened(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: nothing is done and nothing is kept; only what the caller may read is shown."""
    ada = await workspace.person(("workspace.*", "OWN"), ("sales.*", "OWN"), ("support.*", "OWN"))
    large = await win(
        feeds, owner=ada.id, record={"amount": Money(units=5000, currency_code="EUR")}
    )
    small = await win(feeds, owner=ada.id, record={"amount": Money(units=5)})
    await win(feeds, owner=uuid7(), record={"amount": Money(units=5000)})
    rule = described(NEXT, TELL_ME, condition="record.amount.units > 1000")
    answer = await stub(workspace).TestRule(
        rule_pb2.TestRuleRequest(rule=rule), metadata=ada.metadata
    )
    assert [(r.subject, r.holds, len(r.steps)) for r in answer.results] == [
        (small.subject, False, 0), (large.subject, True, 2),
    ]  # fmt: skip
    assert answer.results[1].steps[1].parameters["text"] == "Acme is won"
    failing = described(TELL_ME, condition="record.stage > 1")
    answer = await stub(workspace).TestRule(
        rule_pb2.TestRuleRequest(rule=failing), metadata=ada.metadata
    )
    assert not answer.results[0].holds
    assert answer.results[0].condition_error
    listed = await stub(workspace).ListRules(rule_pb2.ListRulesRequest(), metadata=ada.metadata)
    assert (list(listed.rules), owners.asked) == ([], [])


# -- refusals


def setting(**values: Any) -> dict[str, Any]:
    return {"actions": [{"set_fields": {"values": values}}]}


def making(resource: str, **values: Any) -> dict[str, Any]:
    return {"actions": [{"create_record": {"resource": resource, "values": values}}]}


def telling(**values: Any) -> dict[str, Any]:
    return {"actions": [{"notify": {"recipient": "RULE_OWNER", "text": "x", **values}}]}


TWO_TYPES = ["sales.opportunity.won", "support.ticket.created"]
NOBODY, VALUES = f"users/{uuid7()}", "set_fields.values"


@pytest.mark.parametrize(
    ("rule", "field", "reason"),
    [
        ({"event_types": ["sales.lost"]}, "event_types[0]", "UNKNOWN_EVENT_TYPE"),
        ({"condition": "record.amuont.units > 1"}, "condition", "INVALID_CONDITION"),
        ({"actions": [{}]}, "actions[0]", "INVALID_ACTION"),
        ({"actions": []}, "actions", "REQUIRED_FIELD"),
        (setting(amuont=1), "set_fields.values.amuont", "INVALID_ACTION"),
        (setting(state="WON"), "set_fields.values.state", "INVALID_ACTION"),
        (setting(etag="x"), "set_fields.values.etag", "INVALID_ACTION"),
        (setting(amount="much"), "set_fields.values.amount", "INVALID_ACTION"),
        (setting(next_step="x" * 5000), "set_fields.values.next_step", "INVALID_FIELD"),
        (setting(next_step="{{record.next_step}}"), f"{VALUES}.next_step", "UNKNOWN_MERGE_TAG"),
        (setting(next_step="{{ ''.__class__ }}"), f"{VALUES}.next_step", "UNKNOWN_MERGE_TAG"),
        (setting(next_step="x") | {"event_types": TWO_TYPES}, f"{VALUES}.next_step", "INVALID_ACTION"),
        (setting(roles=[]) | {"event_types": ["identity.user.created"]}, VALUES, "INVALID_ACTION"),
        (making("users", email="x"), "create_record.resource", "INVALID_ACTION"),
        (making("unicorns", horns=1), "create_record.resource", "INVALID_ACTION"),
        (making("tickets", category="x"), "create_record.values.subject", "REQUIRED_FIELD"),
        ({"actions": [{"assign": {"user": NOBODY}}]}, "assign.user", "INVALID_ACTION"),
        ({"actions": [{"assign": {}}]}, "assign", "INVALID_ACTION"),
        (telling(recipient="USER"), "notify.user", "INVALID_ACTION"),
        (telling(text="{% x %}"), "notify.text", "UNKNOWN_MERGE_TAG"),
        (telling(text=""), "notify.text", "REQUIRED_FIELD"),
    ],
)  # fmt: skip
async def test_what_cannot_be_done_is_refused_and_named(
    workspace: ServiceUnderTest, rule: dict[str, Any], field: str, reason: str
) -> None:
    """When it is saved, not when it runs; attack rows 9 and 10."""
    ada = await workspace.person("*")
    values = {"display_name": "x", "event_types": TWO_TYPES[:1], "actions": [TELL_ME], **rule}
    path = field if field.partition("[")[0] in values else f"actions[0].{field}"
    request = rule_pb2.CreateRuleRequest(rule=Rule(**values))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(workspace).CreateRule(request, metadata=ada.metadata)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(refused.value)
    assert (details["fields"], details["reason"]) == ([f"rule.{path}"], reason)


async def test_only_the_owner_decides_what_is_done_in_their_name(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """INVARIANT: nobody acts with another's rights; others may pause a rule and see what it did."""
    ada, boss = await workspace.person("*"), await workspace.person("*")
    stranger = await workspace.person(("workspace.*", "OWN"), ("sales.*", "OWN"))
    with pytest.raises(grpc.aio.AioRpcError) as for_another:
        await create(workspace, boss, owner=ada.name)
    assert details_of(for_another.value)["reason"] == "OWNER_MUST_BE_CALLER"
    blind = await workspace.person(("workspace.*", "OWN"))
    with pytest.raises(grpc.aio.AioRpcError) as unreadable:
        await create(workspace, blind)
    assert details_of(unreadable.value)["reason"] == "EVENTS_NOT_READABLE"
    rule = await create(workspace, ada)
    for changed in ({"condition": "true"}, {"event_types": ["*"]}, {"display_name": "y"}):
        update = rule_pb2.UpdateRuleRequest(rule=Rule(name=rule.name, **changed))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub(workspace).UpdateRule(update, metadata=boss.metadata)
        assert details_of(refused.value)["reason"] == "OWNER_ONLY"
    event = await win(feeds)
    (run,) = await ended(workspace, boss, rule.name, Run.SUCCEEDED)
    assert run.subject == event.subject
    theirs = await create(workspace, stranger)
    below = f"{theirs.name}/runs/{run.name.rpartition('/')[2]}"
    for name in (run.name, below, f"{theirs.name}/runs/x", "rules/1", "x" * 200):
        for method, request in (
            (runs_stub(workspace).GetRuleRun, rule_pb2.GetRuleRunRequest(name=name)),
            (runs_stub(workspace).RerunRuleRun, rule_pb2.RerunRuleRunRequest(name=name)),
        ):
            with pytest.raises(grpc.aio.AioRpcError) as hidden:
                await method(request, metadata=stranger.metadata)
            assert hidden.value.code() in {
                grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT,
            }  # fmt: skip
    pause = rule_pb2.PauseRuleRequest(name=rule.name)
    by_boss = await stub(workspace).PauseRule(pause, metadata=boss.metadata)
    assert (by_boss.state, by_boss.pause_reason) == (Rule.PAUSED, Rule.BY_PERSON)


async def test_a_rule_made_with_a_limited_key_does_what_the_key_may_do(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: a limited key gets no more by a rule."""
    ada = await workspace.person("*")
    key = workspace.limited(ada, "workspace.*", "sales.events.list", "sales.opportunities.get")
    rule = await create(workspace, key, NEXT)
    await win(feeds)
    await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    assert owners.asked[0].metadata["x-limited-to"].split() == [
        "workspace.*", "sales.events.list", "sales.opportunities.get",
    ]  # fmt: skip
    blind = workspace.limited(ada, "workspace.*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(workspace, blind, NEXT)
    assert details_of(refused.value)["reason"] == "EVENTS_NOT_READABLE"


async def test_the_log_is_filtered_and_paged(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    """Newest first; what a filter cannot be is refused."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada)
    events = [await win(feeds) for _ in range(3)]
    found = await ended(workspace, ada, rule.name, Run.SUCCEEDED, 3)
    assert [r.subject for r in found] == [e.subject for e in reversed(events)]
    (one,) = await runs(workspace, ada, rule.name, f'subject = "{events[0].subject}"')
    assert one.subject == events[0].subject
    assert not await runs(workspace, ada, rule.name, "state = FAILED")
    request = rule_pb2.ListRuleRunsRequest(parent=rule.name, page_size=2)
    page = await runs_stub(workspace).ListRuleRuns(request, metadata=ada.metadata)
    request.page_token = page.next_page_token
    rest = await runs_stub(workspace).ListRuleRuns(request, metadata=ada.metadata)
    assert [*page.runs, *rest.runs] == found
    request.filter = "state = FAILED"
    for bad, reason in (
        (request, "INVALID_PAGE_TOKEN"),
        (rule_pb2.ListRuleRunsRequest(parent=rule.name, filter="event = 1"), "INVALID_FILTER"),
    ):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await runs_stub(workspace).ListRuleRuns(bad, metadata=ada.metadata)
        assert details_of(refused.value)["reason"] == reason


async def test_what_a_rule_says_is_in_no_event(workspace: ServiceUnderTest) -> None:
    """Names and texts of people stay here."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada, display_name="Secret plan")
    (event,) = await workspace.events(rule.name)
    assert not event.message.rule.actions
    assert b"Secret plan" not in event.wire.payload
    assert b"is won" not in event.wire.payload


async def test_a_person_cannot_say_what_caused_what_they_do(workspace: ServiceUnderTest) -> None:
    """INVARIANT: only a service is believed; otherwise the guard against loops could be turned on others."""
    ada = await workspace.person("*")
    request = rule_pb2.CreateRuleRequest(rule=described())
    forged = (*ada.metadata, ("x-causation-id", str(uuid7())))
    rule = await stub(workspace).CreateRule(request, metadata=forged)
    (event,) = await workspace.events(rule.name)
    assert event.causation_id == ""


async def test_runs_are_forgotten_after_a_month(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """By the daily job."""
    ada = await workspace.person("*")
    rule = await create(workspace, ada)
    await win(feeds)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    id_ = UUID(run.name.rpartition("/")[2])
    old = "UPDATE rule_runs SET create_time = now() - interval '31 days' WHERE id = :id"
    await workspace.database.execute(compile_statement(sa.text(old)), {"id": id_})
    call = new_call(workspace.running.home, service_principal("workspace"))
    await tidy(call, {})
    await call.tx.commit()
    await call.tx.end()
    assert await find_run(workspace.database, id_) is None


# -- tasks


async def test_a_rule_gives_somebody_a_task(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """About the record, for who has it, due so many hours after the event however late the run is."""
    ada, bob = await workspace.person("*"), await workspace.person("sales.*")
    task = {
        "assignee": "RECORD_OWNER", "title": "Thank {{record.display_name|them}}\n" + "x" * 400,
        "description": "Stage {{record.stage}}", "due_in_hours": 48, "remind_hours_before": 2,
    }  # fmt: skip
    rule = await create(workspace, ada, {"create_task": task})
    event = await win(feeds, owner=bob.id)
    (run,) = await ended(workspace, ada, rule.name, Run.SUCCEEDED)
    (asked,) = owners.asked
    made = asked.request.task
    assert (asked.method, made.owner, list(made.related)) == (
        "CreateTask", bob.name, [event.subject],
    )  # fmt: skip
    assert made.title.startswith("Thank Acme xxx")
    assert len(made.title) == 300
    assert made.description == "Stage won"
    due, remind = (t.ToDatetime(event.time.tzinfo) for t in (made.due_time, made.remind_time))
    assert (due - event.time, due - remind) == (timedelta(hours=48), timedelta(hours=2))
    assert run.steps[0].outcome.startswith("tasks/")


async def test_a_task_goes_to_who_may_read_the_record_only(
    workspace: ServiceUnderTest, feeds: FeedHost, owners: Owners
) -> None:
    """INVARIANT: a task does not carry a record's values to somebody who may not read it."""
    ada, bob = await workspace.person("*"), await workspace.person(("sales.*", "OWN"))
    task = {"assignee": "USER", "user": bob.name, "title": "Call {{record.display_name}}"}
    rule = await create(workspace, ada, {"create_task": task})
    await win(feeds, owner=ada.id)
    (run,) = await ended(workspace, ada, rule.name, Run.FAILED)
    assert run.steps[0].error_reason == "CANNOT_READ_RECORD"
    assert owners.asked == []


@pytest.mark.parametrize(
    ("task", "field"),
    [
        ({"assignee": "USER", "title": "x"}, "user"),
        ({"assignee": "RULE_OWNER", "title": "x", "user": f"users/{uuid7()}"}, "user"),
        ({"assignee": "USER", "title": "x", "user": f"users/{uuid7()}"}, "user"),
        ({"assignee": "RULE_OWNER", "title": "{{record.nothing}}"}, "title"),
        ({"assignee": "RULE_OWNER", "title": "x", "description": "{% x %}"}, "description"),
        ({"assignee": "RULE_OWNER", "title": "x", "due_in_hours": 0}, "due_in_hours"),
        ({"assignee": "RULE_OWNER", "title": "x", "remind_hours_before": 1}, "remind_hours_before"),
        ({"assignee": "RULE_OWNER"}, "title"),
        ({"title": "x"}, "assignee"),
    ],
)
async def test_a_task_that_nobody_could_be_given_is_refused(
    workspace: ServiceUnderTest, task: dict[str, Any], field: str
) -> None:
    ada = await workspace.person("*")
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(workspace, ada, {"create_task": task})
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert details_of(refused.value)["fields"] == [f"rule.actions[0].create_task.{field}"]
