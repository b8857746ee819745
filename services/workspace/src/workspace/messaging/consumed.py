"""What other services' events mean here: webhooks are sent them, rules start, and people are told."""

from typing import Any
from uuid import UUID

from crm.common.v1 import job_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.feed.events import Event
from crmkit.ids import uuid5_of
from crmkit.names import parse_name
from workspace.domain.condition import holds
from workspace.domain.webhook import RETRY_FOR, Webhook, matches
from workspace.messaging.automation import start_rules
from workspace.messaging.collaborator import hear_of_collaborator
from workspace.messaging.comment import (
    actor_of,
    hear_of_comment,
    hear_of_follower,
    hear_of_purge,
)
from workspace.messaging.leavers import stop_what_acts_for_who_left
from workspace.queries.event_values import body_of, condition_values
from workspace.queries.visibility import readable
from workspace.storage.collaborator import note_sharing
from workspace.storage.known_absence import note_absence
from workspace.storage.webhook import sending_webhooks
from workspace.storage.webhook_delivery import Delivery, insert_delivery
from workspace.usecases.deliver_webhook import promise
from workspace.usecases.notify import notify

# What comes at a time that was set → the kind of notification.
_TIMES = {"customer.task.due": "TASK_DUE", "customer.task.reminded": "TASK_REMINDER"}


async def react(event: Event, call: Call) -> None:
    """Whatever happens anywhere."""
    if event.routing_key in contract.events():  # else: of a newer version than this service
        if event.routing_key.startswith("identity.user."):
            await stop_what_acts_for_who_left(event, call)
            await note_absence(call, event.message.user)
        _, noun, past = event.routing_key.split(".")
        if noun == "collaborator":
            await hear_of_collaborator(event, call)
        await note_sharing(call, event)
        await send_on(event, call)
        if noun == "comment":
            await hear_of_comment(event, call)
        elif noun == "follower":
            await hear_of_follower(event, call)
        elif noun != "collaborator":
            await start_rules(event, call)
            await tell_new_owner(event, call)
            await tell_who_started(event, call)
            await tell_of_time(event, call)
            await tell_of_pool(event, call)
        if past == "purged":
            await hear_of_purge(event, call)


async def send_on(event: Event, call: Call) -> None:
    """Puts the event on its way to every webhook that wants it and whose owner may read it."""
    for webhook in await sending_webhooks(call, event.time):
        if not any(matches(pattern, event.routing_key) for pattern in webhook.event_types):
            continue
        shown = readable(call.home.rights, webhook.owner, event, webhook.limits)
        if shown is not None and _wanted(webhook, shown):
            delivery = _delivery(webhook, shown, call)
            await insert_delivery(call, delivery)
            await promise(call, delivery)


def _wanted(webhook: Webhook, event: Event) -> bool:
    try:
        return holds(webhook.condition, condition_values(event))
    except Failure:  # it compares what cannot be compared in this event
        return False


def _delivery(webhook: Webhook, event: Event, call: Call) -> Delivery:
    return Delivery(
        id=uuid5_of(webhook.id, str(event.event_id)),
        webhook=webhook.id,
        event_id=event.event_id,
        event_type=event.routing_key,
        subject=event.subject,
        create_time=call.now,
        retry_until=call.now + RETRY_FOR,
        next_attempt_time=call.now,
        attempts=[],
        body=body_of(event),
    )


async def tell_new_owner(event: Event, call: Call) -> None:
    """A record that somebody else made theirs; no import, hand-over or bulk action tells of thousands."""
    kind = event.routing_key.rpartition(".")[2]
    changed = kind == "created" or "owner" in getattr(event.message, "changed_fields", ())
    if not changed or _in_bulk(event) or event.owner is None:
        return
    if event.actor == f"users/{event.owner}":
        return
    await notify(
        call, event.owner, "ASSIGNED", event=event, subject=event.subject, actor=actor_of(event)
    )


def _in_bulk(event: Event) -> bool:
    return (
        event.imported
        or event.correlation_id.startswith("handovers/")
        or event.causation_id.startswith("bulkActions/")
    )


async def tell_of_pool(event: Event, call: Call) -> None:
    """An account is about to go into a customer pool, or went: whose it is, or was, is told."""
    message: Any = event.message
    if event.routing_key == "customer.account.reclaim_announced":
        account = message.account
        parameters = {
            "pool": account.reclaim_pool,
            "reclaim_time": account.reclaim_time.ToJsonString(),
        }
        await notify(
            call, event.owner, "RECLAIM_ANNOUNCED", event=event, subject=event.subject,
            parameters=parameters,
        )  # fmt: skip
    elif event.routing_key == "customer.account.pooled":
        previous = message.previous_owner
        if previous in {"", event.actor} or _in_bulk(event):
            return
        user = parse_name(previous, collection="users", field="previous_owner")
        await notify(call, user, "POOLED", subject=event.subject, actor=actor_of(event))


async def tell_of_time(event: Event, call: Call) -> None:
    """A time came that somebody had set: who has the task or record, or takes part, is told."""
    message: Any = event.message
    kind = _TIMES.get(event.routing_key)
    if kind is not None:
        await notify(call, event.owner, kind, event=event, subject=event.subject)
    elif event.routing_key.endswith(".document.expired"):
        document = message.document
        parameters = {"document": document.name}
        owner = event.owner or _user(document.creator)
        about = {"subject": message.parent, "parameters": parameters}
        await notify(call, owner, "DOCUMENT_EXPIRED", event=event, **about)
    elif event.routing_key == "customer.appointment.reminded":
        for name in message.appointment.participants:
            if name.startswith("users/"):
                user = parse_name(name, collection="users", field="participants")
                await notify(call, user, "APPOINTMENT_REMINDER", subject=event.subject)


def _user(name: str) -> UUID | None:
    collection, _, id_ = name.partition("/")
    return UUID(id_) if collection == "users" else None


async def tell_who_started(event: Event, call: Call) -> None:
    """A job that somebody started has ended: an import, an export, a bulk action."""
    outcome = getattr(event.message, "outcome", None)
    if not isinstance(outcome, job_pb2.JobOutcome) or not outcome.creator:
        return
    parameters = {
        "job": event.routing_key.split(".")[1],
        "service": event.source,
        "resource": outcome.resource,
        "state": job_pb2.JobOutcome.State.Name(outcome.state),
        "processed_count": str(outcome.processed_count),
        "failed_count": str(outcome.failed_count),
    }
    creator = parse_name(outcome.creator, collection="users", field="creator")
    await notify(call, creator, "JOB_ENDED", subject=outcome.name, parameters=parameters)
