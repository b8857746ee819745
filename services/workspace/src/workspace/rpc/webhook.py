"""Webhooks: their secrets, and what happens to them besides being written."""

import orjson

from crm.workspace.v1 import webhook_pb2
from crmkit.call import Call
from crmkit.ids import uuid7
from crmkit.interceptors.idempotency import keep_instead
from crmkit.resources import draft
from crmkit.sealing import sealer_of
from workspace.domain.webhook import RETRY_FOR, Webhook, new_secret
from workspace.rpc.webhook_delivery import message_of
from workspace.storage.webhook import WEBHOOKS, note_success
from workspace.storage.webhook_delivery import (
    Delivery,
    find_delivery,
    insert_delivery,
    pending_deliveries,
)
from workspace.usecases.deliver_webhook import promise, purpose

_TEST_TYPE = "webhook.test"


class WebhookService:
    """Webhooks; the standard methods besides Create come from the kit."""

    async def CreateWebhook(
        self, request: webhook_pb2.CreateWebhookRequest, call: Call
    ) -> webhook_pb2.Webhook:
        """Creates a webhook of the caller's; this answer alone has the secret."""
        webhook: Webhook = await draft(WEBHOOKS, call, request.webhook)
        secret = new_secret()
        webhook.sealed_secret = _sealed(call, webhook, secret)
        await WEBHOOKS.insert(call, webhook)
        return _once(call, webhook, secret)

    async def RotateWebhookSecret(
        self, request: webhook_pb2.RotateWebhookSecretRequest, call: Call
    ) -> webhook_pb2.Webhook:
        """Makes a new secret; this answer alone has it."""
        secret = new_secret()
        async with WEBHOOKS.changing(call, request) as webhook:
            webhook.rotate(_sealed(call, webhook, secret), call.now)
        return _once(call, webhook, secret)

    async def PauseWebhook(
        self, request: webhook_pb2.PauseWebhookRequest, call: Call
    ) -> webhook_pb2.Webhook:
        """Sends nothing until it is resumed."""
        async with WEBHOOKS.changing(call, request) as webhook:
            webhook.pause("BY_PERSON")
        return _message(webhook)

    async def ResumeWebhook(
        self, request: webhook_pb2.ResumeWebhookRequest, call: Call
    ) -> webhook_pb2.Webhook:
        """Sends again, first what has waited."""
        async with WEBHOOKS.changing(call, request) as webhook:
            webhook.resume()
        await note_success(call, webhook.id)
        for delivery_id in await pending_deliveries(call, webhook.id):
            delivery = await find_delivery(call.tx, delivery_id)
            if delivery is not None:
                delivery.next_attempt_time = call.now
                await promise(call, delivery)
        return _message(webhook)

    async def TestWebhook(
        self, request: webhook_pb2.TestWebhookRequest, call: Call
    ) -> webhook_pb2.WebhookDelivery:
        """Sends an event that tells nothing."""
        webhook = await WEBHOOKS.get(call, request.name)
        body = {"type": _TEST_TYPE, "timestamp": call.now.isoformat(), "data": {}}
        delivery = Delivery(
            id=uuid7(),
            webhook=webhook.id,
            event_type=_TEST_TYPE,
            subject=request.name,
            create_time=call.now,
            retry_until=call.now + RETRY_FOR,
            next_attempt_time=call.now,
            attempts=[],
            body=orjson.dumps(body),
        )
        await insert_delivery(call, delivery)
        await promise(call, delivery)
        return message_of(delivery)


def _sealed(call: Call, webhook: Webhook, secret: str) -> bytes:
    sealer = sealer_of(call.home.name, call.home.settings.keys_dir)
    return sealer.seal(secret.encode(), purpose(webhook.id))


def _message(webhook: Webhook) -> webhook_pb2.Webhook:
    message: webhook_pb2.Webhook = WEBHOOKS.message(webhook)
    return message


def _once(call: Call, webhook: Webhook, secret: str) -> webhook_pb2.Webhook:
    """The webhook with its secret; a repeat of the request answers it without."""
    message = _message(webhook)
    keep_instead(call, message)
    shown = webhook_pb2.Webhook(secret=secret)
    shown.MergeFrom(message)
    return shown
