"""What rules do: one kind of action each, planned from an event and then done.

A kind is planned once, into plain parameters that are kept with the run, so that a repeat does the same. A
remote kind asks another service with the step's id as request id; the others write here, in the
transaction in which the step is noted as done. Either way a step takes effect once.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit.asking import ask
from crmkit.call import Call
from crmkit.errors import FailedPrecondition
from crmkit.feed.events import Event
from crmkit.ids import uuid5_of
from crmkit.names import parse_name
from crmkit.rights import Rights
from workspace.domain.merge_tags import render, render_all
from workspace.domain.rule import (
    AddComment,
    Assign,
    CallWebhook,
    CreateRecord,
    CreateTask,
    Notify,
    Rule,
    SetFields,
)
from workspace.domain.rule_run import RuleRun, Step
from workspace.domain.webhook import RETRY_FOR
from workspace.queries.action_fields import (
    comment_request,
    create_request,
    may_be_about,
    update_request,
)
from workspace.queries.event_values import body_of, condition_values
from workspace.queries.visibility import may_read_record, readable, shown_also_to
from workspace.storage.collaborator import note_sharing
from workspace.storage.follower import followers_of
from workspace.storage.webhook import webhook_by_id
from workspace.storage.webhook_delivery import Delivery, insert_delivery
from workspace.usecases.deliver_webhook import promise
from workspace.usecases.notify import notify

_LONGEST_NOTE, _LONGEST_COMMENT, _LONGEST_TITLE = 1000, 10_000, 300


@dataclass(frozen=True)
class Facts:
    """What an action is planned from.

    Attributes:
        rule: The rule.
        event: What happened, as the rule's owner may read it.
        values: The same as conditions see it.
        number: How many runs the rule had begun before.
        rights: Who is there.
    """

    rule: Rule
    event: Event
    values: Mapping[str, Any]
    number: int
    rights: Rights


@dataclass(frozen=True)
class Work:
    """A step at hand.

    Attributes:
        call: Work of the rule's owner for a remote kind, of this service for the others.
        rule: The rule.
        run: Its run; `run.step` is the step.
    """

    call: Call
    rule: Rule
    run: RuleRun

    @property
    def parameters(self) -> dict[str, Any]:
        """What was planned."""
        return self.run.step.parameters

    @property
    def event(self) -> Event:
        """What happened."""
        return Event(FeedEvent.FromString(self.run.event))


@dataclass(frozen=True)
class Kind:
    """A kind of action.

    Attributes:
        remote: Whether another service does it.
        plan: The parameters of the step.
        perform: Does it; answers what it made or changed, or None if there was nothing to do.
    """

    remote: bool
    plan: Callable[[Any, Facts], dict[str, Any]]
    perform: Callable[[Work], Awaitable[str | None]]


def plan(facts: Facts) -> list[Step]:
    """The steps of a run."""
    return [
        Step(action=action.kind, parameters=KINDS[action.kind].plan(action.what, facts))
        for action in facts.rule.actions
    ]


# -- fields


def _plan_set_fields(what: SetFields, facts: Facts) -> dict[str, Any]:
    return {"values": render_all(what.values, facts.values)}


async def _set_fields(work: Work) -> str:
    subject, values = work.run.subject, work.parameters["values"]
    await ask(work.call, *update_request(subject, values, work.run.step_id()))
    return subject


# -- owner


def _plan_assign(what: Assign, facts: Facts) -> dict[str, Any]:
    user = what.user if what.user is not None else _in_turn(what.team, facts)
    return {"user": f"users/{user}" if user is not None else ""}


def _in_turn(team: UUID | None, facts: Facts) -> UUID | None:
    """The active users of a team, one after the other."""
    users = facts.rights.users.items()
    members: Sequence[UUID] = sorted(u for u, k in users if k.active and k.team == team)
    return members[facts.number % len(members)] if members else None


async def _assign(work: Work) -> str:
    user, subject = work.parameters["user"], work.run.subject
    if not user:
        msg = "Nobody in the team is active."
        raise FailedPrecondition(msg, reason="TEAM_EMPTY")
    await ask(work.call, *update_request(subject, {"owner": user}, work.run.step_id()))
    return subject


# -- records


def _plan_create_record(what: CreateRecord, facts: Facts) -> dict[str, Any]:
    return {"resource": what.resource, "values": render_all(what.values, facts.values)}


async def _create_record(work: Work) -> str:
    resource, values = work.parameters["resource"], work.parameters["values"]
    made = await ask(work.call, *create_request(resource, values, work.run.step_id()))
    return str(made.name)


# -- people


def _plan_notify(what: Notify, facts: Facts) -> dict[str, Any]:
    recipients = {
        "RECORD_OWNER": facts.event.owner,
        "RULE_OWNER": facts.rule.owner,
        "USER": what.user,
        "FOLLOWERS": None,
    }
    user = recipients[what.recipient]
    shown = shown_also_to(facts.rights, user, facts.event)
    return {
        "recipient": what.recipient,
        "user": f"users/{user}" if user is not None else "",
        "text": render(what.text, condition_values(shown))[:_LONGEST_NOTE],
    }


async def _notify(work: Work) -> str | None:
    """Tells those who may read the record; answers the first notification."""
    event, told = await note_sharing(work.call, work.event), []
    for user in await _recipients(work, event):
        if may_read_record(work.call.home.rights, user, event):
            name = await notify(
                work.call, user, "RULE", record_id=uuid5_of(work.run.step_id(), str(user)),
                event=event, subject=event.subject, text=work.parameters["text"] or None,
                parameters={"rule": f"rules/{work.rule.id}"},
            )  # fmt: skip
            told += [name] if name else []
    return told[0] if told else None


async def _recipients(work: Work, event: Event) -> list[UUID]:
    if work.parameters["recipient"] == "FOLLOWERS":
        collection = event.subject.split("/", 1)[0]
        record = parse_name(event.subject, collection=collection, field="subject")
        return await followers_of(work.call, record, event.owner)
    name = work.parameters["user"]
    return [parse_name(name, collection="users", field="user")] if name else []


# -- comments


def _plan_add_comment(what: AddComment, facts: Facts) -> dict[str, Any]:
    shown = shown_also_to(
        facts.rights, None, facts.event
    )  # everybody who reads the record reads it
    return {"text": render(what.text, condition_values(shown))[:_LONGEST_COMMENT]}


async def _add_comment(work: Work) -> str:
    subject, text = work.run.subject, work.parameters["text"]
    made = await ask(work.call, *comment_request(subject, text, work.run.step_id()))
    return str(made.name)


# -- tasks


def _plan_create_task(what: CreateTask, facts: Facts) -> dict[str, Any]:
    """The task as it will be sent: its times are counted from the event, however late the run is."""
    by_choice = {"RECORD_OWNER": facts.event.owner, "RULE_OWNER": None, "USER": what.user}
    assignee = by_choice[what.assignee] or facts.rule.owner
    shown = condition_values(shown_also_to(facts.rights, assignee, facts.event))
    values: dict[str, Any] = {
        "title": " ".join(render(what.title, shown).split())[:_LONGEST_TITLE],
        "owner": f"users/{assignee}",
    }
    if may_be_about(facts.event.subject):
        values["related"] = [facts.event.subject]
    if what.description:
        values["description"] = render(what.description, shown)[:_LONGEST_COMMENT]
    if what.due_in_hours is not None:
        due = facts.event.time + timedelta(hours=what.due_in_hours)
        values["due_time"] = due.isoformat()
        if what.remind_hours_before is not None:
            remind = due - timedelta(hours=what.remind_hours_before)
            values["remind_time"] = remind.isoformat()
    return {"values": values}


async def _create_task(work: Work) -> str:
    values = work.parameters["values"]
    assignee = parse_name(values["owner"], collection="users", field="owner")
    if not may_read_record(work.call.home.rights, assignee, work.event):
        msg = "Whom the task is for may not read the record."
        raise FailedPrecondition(msg, reason="CANNOT_READ_RECORD")
    made = await ask(work.call, *create_request("tasks", values, work.run.step_id()))
    return str(made.name)


# -- webhooks


def _plan_call_webhook(what: CallWebhook, _facts: Facts) -> dict[str, Any]:
    return {"webhook": f"webhooks/{what.webhook}"}


async def _call_webhook(work: Work) -> str:
    call, event = work.call, await note_sharing(work.call, work.event)
    id_ = parse_name(work.parameters["webhook"], collection="webhooks", field="webhook")
    webhook = await webhook_by_id(call.tx, id_)
    if webhook is None or webhook.owner != work.rule.owner or webhook.delete_time is not None:
        msg = "The rule's owner has no such webhook any more."
        raise FailedPrecondition(msg, reason="WEBHOOK_DELETED")
    shown = readable(call.home.rights, webhook.owner, event, webhook.limits)
    if shown is None:
        msg = "The webhook may not be sent this."
        raise FailedPrecondition(msg, reason="EVENT_NOT_READABLE")
    delivery = Delivery(
        id=work.run.step_id(),
        webhook=webhook.id,
        event_id=event.event_id,
        event_type=event.routing_key,
        subject=event.subject,
        create_time=call.now,
        retry_until=call.now + RETRY_FOR,
        next_attempt_time=call.now,
        attempts=[],
        body=body_of(shown),
    )
    await insert_delivery(call, delivery)
    await promise(call, delivery)
    return delivery.name


KINDS: dict[str, Kind] = {
    "set_fields": Kind(remote=True, plan=_plan_set_fields, perform=_set_fields),
    "assign": Kind(remote=True, plan=_plan_assign, perform=_assign),
    "create_record": Kind(remote=True, plan=_plan_create_record, perform=_create_record),
    "notify": Kind(remote=False, plan=_plan_notify, perform=_notify),
    "call_webhook": Kind(remote=False, plan=_plan_call_webhook, perform=_call_webhook),
    "create_task": Kind(remote=True, plan=_plan_create_task, perform=_create_task),
    "add_comment": Kind(remote=True, plan=_plan_add_comment, perform=_add_comment),
}
