"""Where webhooks are kept, and how well their endpoints do."""

from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crm.workspace.v1 import webhook_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.errors import InvalidArgument, PermissionDenied
from crmkit.safe_http import UnsafeUrlError, check_url
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from workspace.domain.condition import check_condition
from workspace.domain.webhook import Webhook
from workspace.queries.event_types import check_event_types, record_fields
from workspace.storage.schema import WORKSPACE

webhooks = record_table(
    "webhooks",
    WORKSPACE,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("url", TEXT, nullable=False),
    sa.Column("event_types", sa.ARRAY(TEXT), nullable=False),
    sa.Column("condition", TEXT),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("pause_reason", TEXT),
    sa.Column("previous_secret_expire_time", TIMESTAMP),
    sa.Column("limits", sa.ARRAY(TEXT)),
    sa.Column("sealed_secret", sa.LargeBinary),
    sa.Column("sealed_previous_secret", sa.LargeBinary),
)

# Beside the record: it changes with every failure, which is no version of the webhook.
webhook_health = sa.Table(
    "webhook_health",
    WORKSPACE,
    sa.Column("webhook", sa.Uuid, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False),  # in a row
    sa.Column("hold_until", TIMESTAMP, nullable=False),
)

# What others than the owner may do with a webhook: pause, resume, delete and restore it.
_NOT_THE_OWNERS_ALONE = frozenset(
    {"state", "pause_reason", "delete_time", "update_time", "version"}
)


async def _is_sound(call: Call, after: Webhook, before: Webhook | None) -> None:
    """Only the owner says where their events go; the address and what is sent there make sense.

    With a limited API key they have sent only what that key may read.
    """
    by = call.principal
    if before is None and (after.owner is None or after.owner != by.user):
        msg = "A webhook sends what its owner may read and cannot be made for another."
        raise InvalidArgument(msg, reason="OWNER_MUST_BE_CALLER", field="webhook.owner")
    if before is not None and by.user is not None and by.user != before.owner:
        unchanged = {n: getattr(before, n) for n in _NOT_THE_OWNERS_ALONE}
        if replace(after, events=[], **unchanged) != replace(before, events=[]):
            msg = "Only the owner of a webhook decides what it sends, and where."
            raise PermissionDenied(msg, reason="OWNER_ONLY")
    if by.user is not None and (before is None or after.aim != before.aim):
        after.limits = list(by.limits) if by.limits is not None else None
    try:
        check_url(after.url, call.home.settings.webhook_allow_networks)
    except UnsafeUrlError as error:
        msg = f"webhook.url: {error}"
        raise InvalidArgument(msg, reason="UNSAFE_URL", field="webhook.url") from None
    check_event_types(after.event_types, "webhook.event_types")
    fields = record_fields(after.event_types)
    check_condition(after.condition or "", "webhook.condition", fields)


class Webhooks(Collection[Webhook]):
    """Webhooks; who changes one looks anew for those that send."""

    async def save(self, call: Call, entity: Webhook, kind: str = "updated") -> Webhook:
        """Stores a webhook's next version."""
        call.tx.known.pop(_KNOWN, None)
        return await super().save(call, entity, kind)


WEBHOOKS = Webhooks(
    webhook_pb2.Webhook,
    Webhook,
    webhooks,
    rule=_is_sound,
    private=frozenset({"limits", "sealed_secret", "sealed_previous_secret"}),
    unstored=frozenset({"secret"}),
)

_WEBHOOK = sa.bindparam("webhook", type_=sa.Uuid)
_SENDING = compile_statement(
    sa.select(*WEBHOOKS.codec.columns).where(
        webhooks.c.state == "ACTIVE",
        webhooks.c.delete_time.is_(None),
    )
)
_KNOWN = "sending_webhooks"
_ACTIVE_OF = compile_statement(
    sa.select(webhooks.c.id)
    .where(
        webhooks.c.owner == sa.bindparam("owner", type_=sa.Uuid),
        webhooks.c.state == "ACTIVE",
        webhooks.c.delete_time.is_(None),
    )
    .order_by(webhooks.c.id)
)
_BY_ID = compile_statement(sa.select(*WEBHOOKS.codec.columns).where(webhooks.c.id == _WEBHOOK))
_HEALTH = compile_statement(
    sa.select(webhook_health.c.failures, webhook_health.c.hold_until).where(
        webhook_health.c.webhook == _WEBHOOK
    )
)
_failed = insert(webhook_health).values(
    webhook=_WEBHOOK, failures=1, hold_until=sa.bindparam("now", type_=TIMESTAMP)
)
_FAILED = compile_statement(
    _failed.on_conflict_do_update(
        index_elements=["webhook"], set_={"failures": webhook_health.c.failures + 1}
    ).returning(webhook_health.c.failures)
)
_HOLD = compile_statement(
    sa.update(webhook_health)
    .where(webhook_health.c.webhook == sa.bindparam("of", type_=sa.Uuid))
    .values(hold_until=sa.bindparam("until", type_=TIMESTAMP))
)
_WELL = compile_statement(sa.delete(webhook_health).where(webhook_health.c.webhook == _WEBHOOK))


@dataclass(frozen=True)
class Health:
    """How an endpoint does: failures in a row, and until when it is left alone."""

    failures: int
    hold_until: datetime


async def sending_webhooks(call: Call, event_time: datetime) -> list[Webhook]:
    """The webhooks that send, and were there when the event happened."""
    known = call.tx.known
    if _KNOWN not in known:  # once for the events of a batch
        rows = await call.tx.fetch_all(_SENDING)
        known[_KNOWN] = [WEBHOOKS.codec.from_row(row) for row in rows]
    return [webhook for webhook in known[_KNOWN] if webhook.create_time <= event_time]


async def active_webhooks_of(call: Call, owner: UUID) -> list[UUID]:
    """The webhooks of a user that send."""
    return [row[0] for row in await call.tx.fetch_all(_ACTIVE_OF, {"owner": owner})]


async def webhook_by_id(executor: Executor, webhook: UUID) -> Webhook | None:
    """A webhook, deleted or not, whoever asks."""
    row = await executor.fetch_one(_BY_ID, {"webhook": webhook})
    return WEBHOOKS.codec.from_row(row) if row is not None else None


async def health_of(executor: Executor, webhook: UUID) -> Health | None:
    """How an endpoint does; None while it does well."""
    row = await executor.fetch_one(_HEALTH, {"webhook": webhook})
    return Health(row[0], row[1]) if row is not None else None


async def note_failure(call: Call, webhook: UUID) -> int:
    """Counts a failure; answers how many there were in a row."""
    row = await call.tx.fetch_one(_FAILED, {"webhook": webhook, "now": call.now})
    assert row is not None
    failures: int = row[0]
    return failures


async def leave_alone(call: Call, webhook: UUID, until: datetime) -> None:
    """Sends nothing to the endpoint until then."""
    await call.tx.execute(_HOLD, {"of": webhook, "until": until})


async def note_success(call: Call, webhook: UUID) -> None:
    """The endpoint does well (again)."""
    await call.tx.execute(_WELL, {"webhook": webhook})
