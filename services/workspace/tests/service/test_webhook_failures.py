"""What a webhook does when its endpoint fails: retries, pauses, sends again."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.sales.v1.opportunity_pb2 import OpportunityCreated
from crm.workspace.v1 import (
    notification_pb2,
    notification_pb2_grpc,
    webhook_pb2,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import ServiceUnderTest
from workspace.domain.webhook import FAILURES_UNTIL_PAUSED
from workspace.usecases.deliver_webhook import deliver

from .conftest import Endpoint
from .webhooks import (
    EVERYTHING,
    Delivery,
    Webhook,
    applied,
    create,
    deliveries,
    deliveries_stub,
    first_delivery,
    opportunity,
    stub,
)


async def test_a_failure_is_retried_until_it_arrives(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: every attempt is logged; the id stays the same, so that a receiver knows repeats."""
    endpoint.answers[:] = [(500, "o\x00ops" + "x" * 2000), (302, ""), (204, "")]
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    for attempts in (1, 2):
        failed = await first_delivery(workspace, ada, hook.name, Delivery.PENDING, attempts)
        wait = failed.next_attempt_time.ToDatetime() - failed.attempts[-1].attempt_time.ToDatetime()
        assert wait == timedelta(seconds=5 * 2 ** (attempts - 1))
        await hurry(workspace)
    arrived = await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    assert [a.status_code for a in arrived.attempts] == [500, 302, 204]
    assert len(arrived.attempts[0].response) == 1024
    assert len({headers["webhook-id"] for headers, _ in endpoint.heard}) == 1


async def hurry(workspace: ServiceUnderTest) -> None:
    """Everything that waits is due now."""
    for statement in (
        "UPDATE job SET due_time = now() WHERE lease IS NULL AND kind = 'deliver_webhook'",
        "UPDATE webhook_health SET hold_until = now() - interval '1 minute'",
    ):
        await workspace.database.execute(compile_statement(sa.text(statement)))


async def test_no_connection_is_a_failure_like_any_other(
    workspace: ServiceUnderTest, feeds: FeedHost
) -> None:
    """The log says why, in words that tell nothing of the network."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url="http://127.0.0.1:9/")
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    failed = await first_delivery(workspace, ada, hook.name, Delivery.PENDING)
    assert (failed.attempts[0].status_code, failed.attempts[0].error) == (
        0,
        "the connection failed",
    )
    rebound = await create(workspace, ada, url="https://no-such-host.example.invalid/")
    test = webhook_pb2.TestWebhookRequest(name=rebound.name)
    await stub(workspace).TestWebhook(test, metadata=ada.metadata)
    unresolved = await first_delivery(workspace, ada, rebound.name, Delivery.FAILED)
    assert unresolved.attempts[0].error


async def test_a_sick_endpoint_is_left_alone_then_paused_and_goes_on_when_resumed(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: what waited is sent after the pause; what happened meanwhile is not."""
    endpoint.answers[:] = [(503, "")]
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await first_delivery(workspace, ada, hook.name, Delivery.PENDING)
    second = opportunity()
    await feeds.publish(OpportunityCreated(opportunity=second))
    await applied(workspace, feeds)
    assert len(endpoint.heard) == 1  # held: the second one was not tried
    health = "UPDATE webhook_health SET failures = :n WHERE webhook = :id"
    await workspace.database.execute(
        compile_statement(sa.text(health)),
        {"n": FAILURES_UNTIL_PAUSED - 1, "id": UUID(hook.uid)},
    )
    await hurry(workspace)

    async def state() -> Any:
        get = webhook_pb2.GetWebhookRequest(name=hook.name)
        read = await stub(workspace).GetWebhook(get, metadata=ada.metadata)
        return read if read.state == Webhook.PAUSED else None

    paused = await eventually(state)
    assert paused.pause_reason == Webhook.FAILURES
    told = await notification_pb2_grpc.NotificationServiceStub(workspace.channel).ListNotifications(
        notification_pb2.ListNotificationsRequest(filter="kind = WEBHOOK_PAUSED"),
        metadata=ada.metadata,
    )
    assert [n.subject for n in told.notifications] == [hook.name]
    events = await workspace.events(hook.name, count=2)
    assert events[-1].routing_key == "workspace.webhook.paused"
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await applied(workspace, feeds)
    endpoint.answers[:] = [(200, "")]
    resume = webhook_pb2.ResumeWebhookRequest(name=hook.name)
    await stub(workspace).ResumeWebhook(resume, metadata=ada.metadata)

    async def all_arrived() -> bool:
        found = await deliveries(workspace, ada, hook.name)
        return len(found) == 2 and all(d.state == Delivery.DELIVERED for d in found)

    await eventually(all_arrived)


async def test_an_endpoint_that_is_gone_is_paused_at_once(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """410 means never again."""
    endpoint.answers[:] = [(410, "")]
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await first_delivery(workspace, ada, hook.name, Delivery.FAILED)
    get = webhook_pb2.GetWebhookRequest(name=hook.name)
    read = await stub(workspace).GetWebhook(get, metadata=ada.metadata)
    assert (read.state, read.pause_reason) == (Webhook.PAUSED, Webhook.GONE)


async def test_a_delivery_is_sent_again_by_hand(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """With the same id and body; not while it is under way."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    delivery = await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    again = webhook_pb2.RedeliverWebhookDeliveryRequest(name=delivery.name)
    sent = await deliveries_stub(workspace).RedeliverWebhookDelivery(again, metadata=ada.metadata)
    assert sent.state == Delivery.PENDING
    await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED, attempts=2)
    (first, body), (second, same) = endpoint.heard
    assert (first["webhook-id"], body) == (second["webhook-id"], same)


async def test_a_test_tells_at_once_also_while_paused(
    workspace: ServiceUnderTest, endpoint: Endpoint
) -> None:
    """A failing test is not retried and counts for nothing."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    pause = webhook_pb2.PauseWebhookRequest(name=hook.name)
    await stub(workspace).PauseWebhook(pause, metadata=ada.metadata)
    test = webhook_pb2.TestWebhookRequest(name=hook.name)
    await stub(workspace).TestWebhook(test, metadata=ada.metadata)
    delivery = await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    assert json.loads(endpoint.heard[0][1])["type"] == "webhook.test"
    assert delivery.event_id == ""
    endpoint.answers[:] = [(404, "")]
    await stub(workspace).TestWebhook(test, metadata=ada.metadata)
    failed = await first_delivery(workspace, ada, hook.name, Delivery.FAILED)
    assert failed.attempt_count == 1


async def test_a_repeated_job_sends_nothing_that_has_arrived(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: a job runs at least once; a delivery that has arrived is not sent by it again."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    delivery = await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    call = new_call(workspace.running.home, service_principal("workspace"))
    await deliver(call, {"delivery": delivery.name.rpartition("/")[2]})
    await call.tx.end()
    assert len(endpoint.heard) == 1
