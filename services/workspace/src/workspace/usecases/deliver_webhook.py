"""Sending one delivery: read, call without a transaction, then write what came of it.

At least once: a process that dies after the call sends again. The receiver knows a repeat by its id.
"""

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.jobs import enqueue
from crmkit.safe_http import CallFailedError, SafeHttp, UnsafeUrlError
from crmkit.sealing import sealer_of
from workspace.domain import webhook as rules
from workspace.domain.signature import signed_headers
from workspace.domain.webhook import Webhook
from workspace.storage.webhook import (
    WEBHOOKS,
    health_of,
    leave_alone,
    note_failure,
    note_success,
    webhook_by_id,
)
from workspace.storage.webhook_delivery import (
    Delivery,
    find_delivery,
    lock_delivery,
    save_delivery,
)
from workspace.usecases.notify import notify

DELIVER = "deliver_webhook"
_SECONDS = 10.0
_ANSWER_BYTES = 1024


@dataclass(frozen=True)
class _Outcome:
    status_code: int
    latency_ms: int
    response: str = ""
    error: str = ""

    @property
    def arrived(self) -> bool:
        return rules.arrived(self.status_code)


async def promise(call: Call, delivery: Delivery) -> None:
    """Puts a stored delivery on its way, with the transaction."""
    await enqueue(call.tx, DELIVER, {"delivery": str(delivery.id)}, delivery.next_attempt_time)


async def deliver(call: Call, arguments: dict[str, Any]) -> None:
    """The job: one attempt, and a promise of the next one where it fails."""
    database = call.home.database
    delivery = await find_delivery(database, UUID(arguments["delivery"]))
    if delivery is None or delivery.state != "PENDING":
        return
    webhook = await webhook_by_id(database, delivery.webhook)
    is_test = delivery.event_id is None
    if webhook is None or webhook.delete_time is not None:
        await _give_up(call, delivery.id)
        return
    if not is_test:
        if webhook.state != "ACTIVE":
            return  # resuming it promises the delivery anew
        health = await health_of(database, webhook.id)
        if health is not None and health.hold_until > call.now:
            await enqueue(call.tx, DELIVER, arguments, health.hold_until)
            return
    outcome = await _attempt(call, webhook, delivery)
    await _write(call, webhook, delivery.id, outcome, is_test=is_test)


async def _attempt(call: Call, webhook: Webhook, delivery: Delivery) -> _Outcome:
    settings = call.home.settings
    sealer = sealer_of(call.home.name, settings.keys_dir)
    sealed = webhook.sealed_secrets(call.now)
    keys = [rules.secret_bytes(sealer.unseal(s, purpose(webhook.id)).decode()) for s in sealed]
    headers = {
        "content-type": "application/json",
        "user-agent": "CRM-Webhooks/1.0",
        **signed_headers(keys, f"msg_{delivery.id}", call.now, delivery.body),
    }
    started = time.perf_counter()

    def milliseconds() -> int:
        return round((time.perf_counter() - started) * 1000)

    http = SafeHttp(settings.webhook_allow_networks)
    try:
        answer = await http.post(
            webhook.url, delivery.body, headers, seconds=_SECONDS, answer_bytes=_ANSWER_BYTES
        )
    except (UnsafeUrlError, CallFailedError) as error:
        return _Outcome(0, milliseconds(), error=str(error))
    text = answer.body.decode("utf-8", errors="replace").replace("\0", "\ufffd")
    return _Outcome(answer.status, milliseconds(), response=text)


def purpose(webhook: UUID) -> str:
    """What a webhook's secrets are sealed for."""
    return f"webhooks/{webhook}/secret"


async def _write(
    call: Call, webhook: Webhook, delivery_id: UUID, outcome: _Outcome, *, is_test: bool
) -> None:
    delivery = await lock_delivery(call, delivery_id)
    if delivery is None:
        return
    delivery.note({"attempt_time": call.now.isoformat(), **vars(outcome)})
    delivery.next_attempt_time = None
    if outcome.arrived:
        delivery.state = "DELIVERED"
        await note_success(call, webhook.id)
    elif is_test:
        delivery.state = "FAILED"  # whoever tests looks on, and tests again
    elif rules.gone(outcome.status_code):
        delivery.state = "FAILED"
        await pause_webhook(call, webhook.id, "GONE")
    else:
        await _retry(call, webhook, delivery)
    await save_delivery(call, delivery)


async def _retry(call: Call, webhook: Webhook, delivery: Delivery) -> None:
    failures = await note_failure(call, webhook.id)
    await leave_alone(call, webhook.id, call.now + rules.hold(failures))
    next_time = call.now + rules.retry_pause(delivery.attempt_count)
    if next_time > delivery.retry_until:
        delivery.state = "FAILED"
    else:
        delivery.next_attempt_time = next_time
        await promise(call, delivery)
    if failures >= rules.FAILURES_UNTIL_PAUSED:
        await pause_webhook(call, webhook.id, "FAILURES")


async def pause_webhook(call: Call, webhook_id: UUID, reason: str) -> None:
    """Pauses a webhook if it sends; tells its owner, if they may sign in."""
    webhook = await WEBHOOKS.for_change(call, webhook_id, deleted=True)
    if webhook.state == "ACTIVE" and webhook.delete_time is None:
        webhook.pause(reason)
        await WEBHOOKS.save(call, webhook)
        name = WEBHOOKS.codec.name_of(webhook.id)
        parameters = {"webhook": name, "reason": reason}
        await notify(call, webhook.owner, "WEBHOOK_PAUSED", subject=name, parameters=parameters)


async def _give_up(call: Call, delivery_id: UUID) -> None:
    delivery = await lock_delivery(call, delivery_id)
    if delivery is not None:
        delivery.state, delivery.next_attempt_time = "FAILED", None
        await save_delivery(call, delivery)
