"""What a rule can do, action by action, and that nobody learns by it what they may not read."""

from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.type.money_pb2 import Money

from crm.marketing.v1.campaign_pb2 import Campaign, CampaignCreated
from crm.sales.v1.follower_pb2 import FollowerAdded
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityWon
from crm.workspace.v1 import (
    webhook_pb2,
    webhook_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import ServiceUnderTest, details_of

from .conftest import Endpoint, Owners
from .rules import TELL_ME, RuleStep, Run, create, ended, runs, told, win

pytestmark = pytest.mark.usefixtures("nothing_from_before")


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
