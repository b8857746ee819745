"""What cannot be a rule, and who decides what is done in whose name."""

from typing import Any

import grpc
import pytest

from crm.workspace.v1 import (
    rule_pb2,
)
from crmkit.ids import uuid7
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import ServiceUnderTest, details_of

from .conftest import Owners
from .rules import NEXT, TELL_ME, Rule, Run, create, ended, runs_stub, stub, win

pytestmark = pytest.mark.usefixtures("nothing_from_before")


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
