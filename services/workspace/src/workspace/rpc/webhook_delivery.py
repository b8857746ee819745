"""The log of what webhooks have sent, for whoever may read the webhook."""

from datetime import datetime
from uuid import UUID

from crm.workspace.v1 import webhook_pb2
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, NotFound
from crmkit.names import parse_name
from workspace.domain.webhook import RETRY_FOR, Webhook
from workspace.storage.webhook import WEBHOOKS
from workspace.storage.webhook_delivery import (
    Delivery,
    find_delivery,
    list_deliveries,
    lock_delivery,
    save_delivery,
)
from workspace.usecases.deliver_webhook import promise

_STATES = {number: name for name, number in webhook_pb2.WebhookDelivery.State.items() if number}


class WebhookDeliveryService:
    """Deliveries as children of their webhook."""

    async def GetWebhookDelivery(
        self, request: webhook_pb2.GetWebhookDeliveryRequest, call: Call
    ) -> webhook_pb2.WebhookDelivery:
        """One delivery; with its body, which holds what the owner may read, for the owner."""
        webhook, delivery = await _find(call, request.name)
        message = message_of(delivery)
        if webhook.owner == call.principal.user and call.principal.limits is None:
            message.body = delivery.body.decode()
        return message

    async def ListWebhookDeliveries(
        self, request: webhook_pb2.ListWebhookDeliveriesRequest, call: Call
    ) -> webhook_pb2.ListWebhookDeliveriesResponse:
        """A webhook's deliveries, newest first."""
        webhook = await WEBHOOKS.get(
            call, request.parent, permission="workspace.webhooks.get", field="parent"
        )
        state = _STATES.get(request.state, "")
        found, token = await list_deliveries(call, webhook.id, state, request)
        return webhook_pb2.ListWebhookDeliveriesResponse(
            deliveries=[message_of(delivery) for delivery in found], next_page_token=token
        )

    async def RedeliverWebhookDelivery(
        self, request: webhook_pb2.RedeliverWebhookDeliveryRequest, call: Call
    ) -> webhook_pb2.WebhookDelivery:
        """Sends it once more, and retries for another day."""
        webhook, found = await _find(call, request.name)
        delivery = await lock_delivery(call, found.id)
        if delivery is None:
            raise _not_found(request.name)
        if webhook.delete_time is not None:
            msg = "The webhook is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        if webhook.state != "ACTIVE" and delivery.event_id is not None:
            msg = "The webhook is paused; resume it first."
            raise FailedPrecondition(msg, reason="WEBHOOK_PAUSED")
        if delivery.state == "PENDING":
            msg = "The delivery is under way already."
            raise FailedPrecondition(msg, reason="ALREADY_UNDER_WAY")
        delivery.state, delivery.next_attempt_time = "PENDING", call.now
        delivery.retry_until = call.now + RETRY_FOR
        await save_delivery(call, delivery)
        await promise(call, delivery)
        return message_of(delivery)


async def _find(call: Call, name: str) -> tuple[Webhook, Delivery]:
    """A delivery, and its webhook, which the caller may read."""
    parent, separator, child = name.partition("/deliveries/")
    if not separator:
        raise _not_found(name)
    webhook = await WEBHOOKS.get(call, parent, permission="workspace.webhooks.get")
    delivery = await find_delivery(call.reader, _id(child))
    if delivery is None or delivery.webhook != webhook.id:
        raise _not_found(name)
    return webhook, delivery


def _id(text: str) -> UUID:
    return parse_name(f"deliveries/{text}", collection="deliveries", field="name")


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})


def message_of(delivery: Delivery) -> webhook_pb2.WebhookDelivery:
    """A delivery as clients see it, without its body."""
    message = webhook_pb2.WebhookDelivery(
        name=delivery.name,
        state=webhook_pb2.WebhookDelivery.State.Value(delivery.state),
        event_id=str(delivery.event_id) if delivery.event_id else "",
        event_type=delivery.event_type,
        subject=delivery.subject,
        attempt_count=delivery.attempt_count,
    )
    message.create_time.FromDatetime(delivery.create_time)
    if delivery.next_attempt_time is not None:
        message.next_attempt_time.FromDatetime(delivery.next_attempt_time)
    for attempt in delivery.attempts:
        values = {**attempt}
        made = datetime.fromisoformat(values.pop("attempt_time"))
        message.attempts.add(**values).attempt_time.FromDatetime(made)
    return message
