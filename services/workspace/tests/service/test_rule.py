"""Automation rules over gRPC: what starts them, what they do, in which order, as whom."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa
from google.type.money_pb2 import Money

from crm.sales.v1.product_pb2 import Product, ProductCreated
from crm.workspace.v1 import (
    rule_pb2,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.errors import NotFound, Unavailable
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import ServiceUnderTest, details_of
from workspace.storage.rule_run import find_run
from workspace.usecases.housekeeping import tidy
from workspace.usecases.run_rule import run_rule

from .conftest import Owners
from .rules import (
    NEXT,
    TELL_ME,
    RuleStep,
    Run,
    applied,
    create,
    described,
    ended,
    hurry,
    runs,
    runs_stub,
    stub,
    told,
    win,
)

TICKET = {
    "create_record": {"resource": "tickets", "values": {"subject": "Welcome {{record.name}}"}}
}


pytestmark = pytest.mark.usefixtures("nothing_from_before")


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
