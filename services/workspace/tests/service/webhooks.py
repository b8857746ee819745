"""Webhooks made and their deliveries followed, for the tests of webhooks."""

from typing import Any

from crm.sales.v1.opportunity_pb2 import Opportunity
from crm.workspace.v1 import (
    webhook_pb2,
    webhook_pb2_grpc,
)
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest

Webhook, Delivery = webhook_pb2.Webhook, webhook_pb2.WebhookDelivery
EVERYTHING = ("*",)


def stub(workspace: ServiceUnderTest) -> Any:
    return webhook_pb2_grpc.WebhookServiceStub(workspace.channel)


def deliveries_stub(workspace: ServiceUnderTest) -> Any:
    return webhook_pb2_grpc.WebhookDeliveryServiceStub(workspace.channel)


async def create(workspace: ServiceUnderTest, person: Person, **fields: Any) -> Any:
    values = {"display_name": "ERP", "url": "https://example.com/hook", "event_types": ["sales.*"]}
    request = webhook_pb2.CreateWebhookRequest(webhook=Webhook(**{**values, **fields}))
    return await stub(workspace).CreateWebhook(request, metadata=person.metadata)


def opportunity(**fields: Any) -> Opportunity:
    return Opportunity(name=f"opportunities/{uuid7()}", **fields)


async def deliveries(workspace: ServiceUnderTest, person: Person, webhook: str) -> list[Any]:
    request = webhook_pb2.ListWebhookDeliveriesRequest(parent=webhook)
    listed = await deliveries_stub(workspace).ListWebhookDeliveries(
        request, metadata=person.metadata
    )
    return list(listed.deliveries)


async def first_delivery(
    workspace: ServiceUnderTest, person: Person, webhook: str, state: int, attempts: int = 1
) -> Any:
    """The newest delivery, once it is in a state."""

    async def found() -> Any:
        for delivery in await deliveries(workspace, person, webhook):
            if delivery.state == state and delivery.attempt_count >= attempts:
                return delivery
        return None

    return await eventually(found)


async def applied(workspace: ServiceUnderTest, feeds: FeedHost) -> None:
    """Waits until everything published so far was applied."""
    last = (await feeds.feed.head()).last_seq
    consumed = workspace.running.home.consumed
    await eventually(lambda: all(s.applied_seq >= last for s in consumed.values()))
