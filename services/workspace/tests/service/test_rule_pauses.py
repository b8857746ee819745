"""When a rule must not go on: failures, owners who leave or lose rights, loops, floods."""

from typing import Any
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa

from crm.identity.v1.user_pb2 import User, UserDeactivated
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityUpdated
from crm.workspace.v1 import (
    rule_pb2,
)
from crmkit.errors import InvalidArgument, PermissionDenied, Unavailable
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from workspace.domain.rule import DEEPEST_CHAIN, FAILURES_UNTIL_PAUSED

from .conftest import Owners
from .rules import NEXT, Rule, Run, applied, create, ended, hurry, runs, runs_stub, stub, told, win

pytestmark = pytest.mark.usefixtures("nothing_from_before")


async def get(workspace: ServiceUnderTest, person: Person, rule: str) -> Any:
    request = rule_pb2.GetRuleRequest(name=rule)
    return await stub(workspace).GetRule(request, metadata=person.metadata)


async def paused(workspace: ServiceUnderTest, person: Person, rule: str) -> Any:
    async def found() -> Any:
        read = await get(workspace, person, rule)
        return read if read.state == Rule.PAUSED else None

    return await eventually(found)


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
    # The pause and what is known of rights are two consumers of one event; both come, in either order.
    rights = workspace.running.home.rights
    await eventually(lambda: not rights.users[ada.id].active)
    resume = rule_pb2.ResumeRuleRequest(name=rule.name)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await stub(workspace).ResumeRule(resume, metadata=boss.metadata)
    assert details_of(refused.value)["reason"] == "OWNER_LEFT"


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
