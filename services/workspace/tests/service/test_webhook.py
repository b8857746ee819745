"""Webhooks over gRPC: what is sent, to whom it may be sent, and what happens when it fails."""

import json
from datetime import timedelta
from typing import Any
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa
from google.type.money_pb2 import Money

from crm.customer.v1.contact_pb2 import Contact, ContactCreated
from crm.marketing.v1.campaign_pb2 import Campaign, CampaignCreated
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityCreated, OpportunityWon
from crm.sales.v1.product_pb2 import Product, ProductCreated
from crm.workspace.v1 import (
    notification_pb2,
    notification_pb2_grpc,
    webhook_pb2,
    webhook_pb2_grpc,
)
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.clock import clock
from crmkit.ids import uuid7
from crmkit.sealing import sealer_of
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import Person, ServiceUnderTest, details_of
from workspace.domain.signature import signed_headers
from workspace.domain.webhook import FAILURES_UNTIL_PAUSED, secret_bytes
from workspace.usecases.deliver_webhook import deliver, purpose

from .conftest import Endpoint

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


# -- sending


async def test_an_event_arrives_signed_and_is_logged(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: what arrives is the event as JSON, once, with a signature by the secret shown once."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    assert hook.secret.startswith("whsec_")
    won = opportunity(stage="won", amount=Money(currency_code="EUR", units=1200))
    event = await feeds.publish(OpportunityWon(opportunity=won), actor=ada.name)
    delivery = await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    ((headers, body),) = endpoint.heard
    assert headers["webhook-id"] == f"msg_{delivery.name.rpartition('/')[2]}"
    again = signed_headers(
        [secret_bytes(hook.secret)], headers["webhook-id"],
        clock.now().fromtimestamp(int(headers["webhook-timestamp"]), clock.now().tzinfo), body,
    )  # fmt: skip
    assert again["webhook-signature"] == headers["webhook-signature"]
    sent = json.loads(body)
    assert (sent["type"], sent["id"]) == ("sales.opportunity.won", str(event.event_id))
    assert sent["data"]["opportunity"]["amount"] == {"currency_code": "EUR", "units": "1200"}
    assert (sent["actor"], sent["subject"]) == (ada.name, won.name)
    (attempt,) = delivery.attempts
    assert (attempt.status_code, attempt.response, attempt.error) == (200, "thanks", "")
    read = await deliveries_stub(workspace).GetWebhookDelivery(
        webhook_pb2.GetWebhookDeliveryRequest(name=delivery.name), metadata=ada.metadata
    )
    assert read.body.encode() == body


async def test_only_what_is_wanted_is_sent(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """By type and by condition; nothing from before the webhook was there."""
    await feeds.publish(OpportunityWon(opportunity=opportunity(amount=Money(units=5000))))
    await applied(workspace, feeds)
    ada = await workspace.person(*EVERYTHING)
    condition = "record.amount.units > 1000"
    hook = await create(
        workspace, ada, url=endpoint.url, event_types=["sales.opportunity.won"], condition=condition
    )
    for message in (
        OpportunityCreated(opportunity=opportunity(amount=Money(units=2000))),
        OpportunityWon(opportunity=opportunity(amount=Money(units=1000))),
        OpportunityWon(opportunity=opportunity()),
        ProductCreated(product=Product(name=f"products/{uuid7()}")),
    ):
        await feeds.publish(message)
    wanted = opportunity(amount=Money(units=1001))
    await feeds.publish(OpportunityWon(opportunity=wanted))
    await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    await applied(workspace, feeds)
    assert [d.subject for d in await deliveries(workspace, ada, hook.name)] == [wanted.name]


@pytest.mark.parametrize(
    ("grants", "sent"),
    [
        (("*",), {"own", "team", "other", "product"}),
        ((("sales.*", "OWN"), ("workspace.*", "OWN")), {"own", "product"}),
        ((("sales.*", "TEAM"), ("workspace.*", "OWN")), {"own", "team", "product"}),
        ((("sales.opportunities.get", "ALL"), ("workspace.*", "OWN")), set()),  # not its events
        ((("sales.events.list", "ALL"), ("workspace.*", "OWN")), set()),  # no records
        ((("workspace.*", "ALL"),), set()),
    ],
)
async def test_a_webhook_sends_what_its_owner_may_read_and_no_more(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint, grants: Any, sent: set[str]
) -> None:
    """INVARIANT: a webhook is no way around the record scope."""
    team = await workspace.team()
    ada = await workspace.person(*grants, team=team)
    hook = await create(workspace, ada, url=endpoint.url, event_types=["*"])
    names = {}
    for whose, owner, of_team in (
        ("own", ada.id, team), ("team", uuid7(), team), ("other", uuid7(), uuid7()),
    ):  # fmt: skip
        record = opportunity()
        names[record.name] = whose
        await feeds.publish(OpportunityCreated(opportunity=record), owner=owner, team=of_team)
    product = Product(name=f"products/{uuid7()}")
    names[product.name] = "product"
    await feeds.publish(ProductCreated(product=product))
    await applied(workspace, feeds)
    found = await deliveries(workspace, ada, hook.name)
    assert {names[d.subject] for d in found} == sent


async def test_a_webhook_made_with_a_limited_key_sends_what_the_key_may_read(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: a limited key gets no more by a webhook; also where it redirects one that was there."""
    ada = await workspace.person(*EVERYTHING)
    limited = workspace.limited(ada, "workspace.*", "sales.events.list", "sales.products.get")
    made, redirected = await create(workspace, limited), await create(workspace, ada)
    full = await create(workspace, ada, event_types=["*"])
    for hook, by in ((redirected, limited), (full, ada)):
        aimed = Webhook(name=hook.name, url=endpoint.url)
        request = webhook_pb2.UpdateWebhookRequest(webhook=aimed)
        await stub(workspace).UpdateWebhook(request, metadata=by.metadata)
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await feeds.publish(ProductCreated(product=Product(name=f"products/{uuid7()}")))
    await applied(workspace, feeds)
    sent = {
        hook.name: sorted(d.event_type for d in await deliveries(workspace, ada, hook.name))
        for hook in (made, redirected, full)
    }
    product = ["sales.product.created"]
    everything = ["sales.opportunity.created", *product]
    assert sent == {made.name: product, redirected.name: product, full.name: everything}


async def test_a_webhook_hides_what_is_hidden_from_its_owner(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """INVARIANT: neither the body nor what a condition finds out tells a hidden value."""
    rights = ("marketing.campaigns.get", "marketing.events.list", "workspace.*")
    ada, bob = await workspace.person(*EVERYTHING), await workspace.person(*rights)
    guess = "record.budget.units > 1000"
    hooks = {
        (person, condition): await create(
            workspace, person, url=endpoint.url, event_types=["*"], condition=condition
        )
        for person in (ada, bob) for condition in ("", guess)
    }  # fmt: skip
    budget = Money(currency_code="EUR", units=5000)
    campaign = Campaign(name=f"campaigns/{uuid7()}", budget=budget)
    await feeds.publish(CampaignCreated(campaign=campaign), owner=ada.id)
    await applied(workspace, feeds)
    bodies = {}
    for (person, condition), hook in hooks.items():
        for delivery in await deliveries(workspace, person, hook.name):
            request = webhook_pb2.GetWebhookDeliveryRequest(name=delivery.name)
            read = await deliveries_stub(workspace).GetWebhookDelivery(
                request, metadata=person.metadata
            )
            bodies[person, condition] = json.loads(read.body)["data"]["campaign"]
            other = bob if person is ada else ada
            read = await deliveries_stub(workspace).GetWebhookDelivery(
                request, metadata=other.metadata
            )
            assert read.body == ""  # what the owner may read is not what another may
    assert set(bodies) == {(ada, ""), (ada, guess), (bob, "")}
    assert bodies[ada, ""]["budget"]["units"] == "5000"
    assert "budget" not in bodies[bob, ""]
    assert bodies[bob, ""]["hidden_fields"] == ["budget"]


async def test_nobody_is_sent_anything_any_more_after_leaving(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """A deactivated owner's webhook stays, and sends nothing."""
    ada, admin = await workspace.person(*EVERYTHING), await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    await workspace.database.execute(
        compile_statement(sa.text("UPDATE known_user SET active = false WHERE id = :id")),
        {"id": ada.id},
    )
    await workspace.running.home.rights.reload()
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await applied(workspace, feeds)
    assert await deliveries(workspace, admin, hook.name) == []


async def test_personal_data_does_not_leave(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """Events hold none; what is sent is the event."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url, event_types=["customer.contact.*"])
    await feeds.publish(ContactCreated(contact=Contact(name=f"contacts/{uuid7()}")))
    await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    assert set(json.loads(endpoint.heard[0][1])["data"]["contact"]) == {"name"}


# -- secrets


async def test_a_secret_is_shown_once_and_sealed(workspace: ServiceUnderTest) -> None:
    """INVARIANT: attack row 28: neither a read, nor a list, nor a repeat, nor the database shows it."""
    ada = await workspace.person(*EVERYTHING)
    request = webhook_pb2.CreateWebhookRequest(
        webhook=Webhook(display_name="x", url="https://example.com", event_types=["*"]),
        request_id=str(uuid7()),
    )
    made = await stub(workspace).CreateWebhook(request, metadata=ada.metadata)
    assert made.secret
    repeated = await stub(workspace).CreateWebhook(request, metadata=ada.metadata)
    read = await stub(workspace).GetWebhook(
        webhook_pb2.GetWebhookRequest(name=made.name), metadata=ada.metadata
    )
    assert (repeated.name, repeated.secret, read.secret) == (made.name, "", "")
    row = await workspace.database.fetch_one(
        compile_statement(sa.text("SELECT sealed_secret FROM webhooks WHERE id = :id")),
        {"id": UUID(made.uid)},
    )
    assert row is not None
    assert made.secret.encode() not in row[0]
    home = workspace.running.home
    opened = sealer_of(home.name, home.settings.keys_dir).unseal(row[0], purpose(UUID(made.uid)))
    assert opened.decode() == made.secret
    (event,) = await workspace.events(made.name)
    assert b"example.com" not in event.wire.payload


async def test_a_new_secret_works_beside_the_old_one(
    workspace: ServiceUnderTest, feeds: FeedHost, endpoint: Endpoint
) -> None:
    """Both sign for a day: the receiver changes over when it can."""
    ada = await workspace.person(*EVERYTHING)
    hook = await create(workspace, ada, url=endpoint.url)
    rotated = await stub(workspace).RotateWebhookSecret(
        webhook_pb2.RotateWebhookSecretRequest(name=hook.name), metadata=ada.metadata
    )
    assert rotated.secret not in {"", hook.secret}
    await feeds.publish(OpportunityCreated(opportunity=opportunity()))
    await first_delivery(workspace, ada, hook.name, Delivery.DELIVERED)
    headers, body = endpoint.heard[0]
    moment = clock.now().fromtimestamp(int(headers["webhook-timestamp"]), clock.now().tzinfo)
    keys = [secret_bytes(rotated.secret), secret_bytes(hook.secret)]
    expected = signed_headers(keys, headers["webhook-id"], moment, body)
    assert headers["webhook-signature"] == expected["webhook-signature"]


# -- refusals


@pytest.mark.parametrize(
    ("fields", "field", "reason"),
    [
        ({"url": "https://10.0.0.1/"}, "webhook.url", "UNSAFE_URL"),
        ({"url": "https://169.254.169.254/latest"}, "webhook.url", "UNSAFE_URL"),
        ({"url": "https://[::ffff:127.0.0.1]/"}, "webhook.url", "UNSAFE_URL"),
        ({"url": "https://2130706433/"}, "webhook.url", "UNSAFE_URL"),
        ({"url": "http://a@127.0.0.1/"}, "webhook.url", "UNSAFE_URL"),
        ({"url": "file:///etc/passwd"}, "webhook.url", "UNSAFE_URL"),
        ({"event_types": ["sales.*", "sales.lost"]}, "webhook.event_types[1]", "UNKNOWN_EVENT_TYPE"),
        ({"event_types": ["sales.opp*"]}, "webhook.event_types[0]", "UNKNOWN_EVENT_TYPE"),
        ({"event_types": ["identity.session.revoked"]}, "webhook.event_types[0]", "UNKNOWN_EVENT_TYPE"),
        ({"condition": "record.amuont.units > 1"}, "webhook.condition", "INVALID_CONDITION"),
        ({"condition": "open('/etc/passwd')"}, "webhook.condition", "INVALID_CONDITION"),
    ],
)  # fmt: skip
async def test_what_cannot_be_sent_is_refused_and_named(
    workspace: ServiceUnderTest, fields: dict[str, Any], field: str, reason: str
) -> None:
    """Attack row 42, and typing errors."""
    ada = await workspace.person(*EVERYTHING)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await create(workspace, ada, **fields)
    assert refused.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(refused.value)
    assert (details["fields"], details["reason"]) == ([field], reason)


async def test_only_the_owner_decides_where_events_go(
    workspace: ServiceUnderTest, endpoint: Endpoint
) -> None:
    """INVARIANT: nobody directs another's events to themselves: a webhook acts with its owner's rights."""
    ada, boss = await workspace.person(*EVERYTHING), await workspace.person(*EVERYTHING)
    with pytest.raises(grpc.aio.AioRpcError) as for_another:
        await create(workspace, boss, owner=ada.name)
    assert details_of(for_another.value)["reason"] == "OWNER_MUST_BE_CALLER"
    hook = await create(workspace, ada)
    for changed in ({"url": endpoint.url}, {"event_types": ["*"]}, {"condition": "true"}):
        update = webhook_pb2.UpdateWebhookRequest(webhook=Webhook(name=hook.name, **changed))
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await stub(workspace).UpdateWebhook(update, metadata=boss.metadata)
        assert details_of(refused.value)["reason"] == "OWNER_ONLY"
    rotate = webhook_pb2.RotateWebhookSecretRequest(name=hook.name)
    with pytest.raises(grpc.aio.AioRpcError) as rotated:
        await stub(workspace).RotateWebhookSecret(rotate, metadata=boss.metadata)
    assert rotated.value.code() == grpc.StatusCode.PERMISSION_DENIED
    pause = webhook_pb2.PauseWebhookRequest(name=hook.name)
    paused = await stub(workspace).PauseWebhook(pause, metadata=boss.metadata)
    assert (paused.state, paused.pause_reason) == (Webhook.PAUSED, Webhook.BY_PERSON)


async def test_deliveries_are_seen_by_who_may_see_the_webhook(
    workspace: ServiceUnderTest, endpoint: Endpoint
) -> None:
    """INVARIANT: another's delivery is not there, also under a webhook of one's own."""
    ada, bob = (
        await workspace.person(("workspace.*", "OWN")),
        await workspace.person(("workspace.*", "OWN")),
    )
    hook, theirs = await create(workspace, ada, url=endpoint.url), await create(workspace, bob)
    test = webhook_pb2.TestWebhookRequest(name=hook.name)
    made = await stub(workspace).TestWebhook(test, metadata=ada.metadata)
    below = f"{theirs.name}/deliveries/{made.name.rpartition('/')[2]}"
    for name in (made.name, below, f"{theirs.name}/deliveries/x", "webhooks/1", "x" * 200):
        get = webhook_pb2.GetWebhookDeliveryRequest(name=name)
        with pytest.raises(grpc.aio.AioRpcError) as hidden:
            await deliveries_stub(workspace).GetWebhookDelivery(get, metadata=bob.metadata)
        assert hidden.value.code() in {grpc.StatusCode.NOT_FOUND, grpc.StatusCode.INVALID_ARGUMENT}
        again = webhook_pb2.RedeliverWebhookDeliveryRequest(name=name)
        with pytest.raises(grpc.aio.AioRpcError):
            await deliveries_stub(workspace).RedeliverWebhookDelivery(again, metadata=bob.metadata)


# -- failures


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
