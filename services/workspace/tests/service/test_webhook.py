"""Webhooks over gRPC: what is sent, signed, to whom, and what is refused."""

import json
from typing import Any
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa
from google.type.money_pb2 import Money

from crm.customer.v1.contact_pb2 import Contact, ContactCreated
from crm.marketing.v1.campaign_pb2 import Campaign, CampaignCreated
from crm.sales.v1.opportunity_pb2 import OpportunityCreated, OpportunityWon
from crm.sales.v1.product_pb2 import Product, ProductCreated
from crm.workspace.v1 import (
    webhook_pb2,
)
from crmkit.clock import clock
from crmkit.ids import uuid7
from crmkit.sealing import sealer_of
from crmkit.statements import compile_statement
from crmkit.testing.feed_host import FeedHost
from crmkit.testing.harness import ServiceUnderTest, details_of
from workspace.domain.signature import signed_headers
from workspace.domain.webhook import secret_bytes
from workspace.usecases.deliver_webhook import purpose

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
