"""Where deliveries are kept: rows, not records; the log of what was sent."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, insert

from crmkit.call import Call
from crmkit.db import Executor
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from workspace.storage.schema import WORKSPACE

_ATTEMPTS_KEPT = 20
_KEPT_FOR = timedelta(days=30)

webhook_deliveries = sa.Table(
    "webhook_deliveries",
    WORKSPACE,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("webhook", sa.Uuid, nullable=False),
    sa.Column("state", TEXT, nullable=False),  # PENDING, DELIVERED, FAILED
    sa.Column("event_id", sa.Uuid),  # None for a test
    sa.Column("event_type", TEXT, nullable=False),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("retry_until", TIMESTAMP, nullable=False),
    sa.Column("next_attempt_time", TIMESTAMP),
    sa.Column("attempt_count", sa.Integer, nullable=False),
    sa.Column("attempts", JSONB, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Index("ix_webhook_deliveries_webhook", "webhook", "id"),
    sa.Index("ix_webhook_deliveries_create_time", "create_time"),
)
_T = webhook_deliveries.c
_COLUMNS = tuple(webhook_deliveries.columns)
_NEWEST_FIRST = [Order("id", _T.id, descending=True)]


@dataclass(kw_only=True)
class Delivery:
    """One event on its way to one webhook; `attempts` are as the contract has them."""

    id: UUID
    webhook: UUID
    state: str = "PENDING"
    event_id: UUID | None = None
    event_type: str
    subject: str
    create_time: datetime
    retry_until: datetime
    next_attempt_time: datetime | None
    attempt_count: int = 0
    attempts: list[dict[str, Any]]
    body: bytes

    @property
    def name(self) -> str:
        """The delivery's name, below its webhook."""
        return f"webhooks/{self.webhook}/deliveries/{self.id}"

    def note(self, attempt: dict[str, Any]) -> None:
        """Adds an attempt; the oldest ones make room."""
        self.attempt_count += 1
        self.attempts = [*self.attempts, attempt][-_ATTEMPTS_KEPT:]


_ID = sa.bindparam("delivery", type_=sa.Uuid)
_INSERT = compile_statement(
    insert(webhook_deliveries)
    .values({c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS})
    .on_conflict_do_nothing(index_elements=["id"])
)
_by_id = sa.select(*_COLUMNS).where(_T.id == _ID)
_GET = compile_statement(_by_id)
_LOCK = compile_statement(_by_id.with_for_update())
_CHANGING = ("state", "retry_until", "next_attempt_time", "attempt_count", "attempts")
_SAVE = compile_statement(
    sa.update(webhook_deliveries)
    .where(_T.id == _ID)
    .values({name: sa.bindparam(name, type_=_T[name].type) for name in _CHANGING})
)
_PENDING = compile_statement(
    sa.select(_T.id)
    .where(_T.webhook == sa.bindparam("webhook", type_=sa.Uuid), _T.state == "PENDING")
    .order_by(_T.id)
)
_PURGE = compile_statement(
    sa.delete(webhook_deliveries).where(_T.create_time < sa.bindparam("before", type_=TIMESTAMP))
)


def _row(delivery: Delivery) -> dict[str, Any]:
    return {**vars(delivery), "attempts": Jsonb(delivery.attempts)}


def _delivery(row: Row) -> Delivery:
    return Delivery(**dict(zip((c.name for c in _COLUMNS), row, strict=True)))


async def insert_delivery(call: Call, delivery: Delivery) -> None:
    """Stores a delivery; one that is there already stays as it is."""
    await call.tx.execute(_INSERT, _row(delivery))


async def find_delivery(executor: Executor, delivery: UUID) -> Delivery | None:
    """A delivery by its id."""
    row = await executor.fetch_one(_GET, {"delivery": delivery})
    return _delivery(row) if row is not None else None


async def lock_delivery(call: Call, delivery: UUID) -> Delivery | None:
    """A delivery, locked for a change."""
    row = await call.tx.fetch_one(_LOCK, {"delivery": delivery})
    return _delivery(row) if row is not None else None


async def save_delivery(call: Call, delivery: Delivery) -> None:
    """Stores what has changed of a delivery."""
    row = _row(delivery)
    values = {name: row[name] for name in _CHANGING}
    await call.tx.execute(_SAVE, {**values, "delivery": delivery.id})


async def pending_deliveries(call: Call, webhook: UUID) -> list[UUID]:
    """What has not arrived yet, oldest first."""
    return [row[0] for row in await call.tx.fetch_all(_PENDING, {"webhook": webhook})]


async def list_deliveries(
    call: Call, webhook: UUID, state: str, request: Any
) -> tuple[list[Delivery], str]:
    """A page of a webhook's deliveries, newest first, and the token of the next page."""
    query = sa.select(*_COLUMNS).where(_T.webhook == webhook)
    if state:
        query = query.where(_T.state == state)
    bound_to = f"webhook_deliveries/{webhook}/{state}"
    rows, token = await page_of_rows(call, query, _NEWEST_FIRST, request, bound_to)
    return [_delivery(row) for row in rows], token


async def purge_deliveries(call: Call) -> None:
    """Forgets deliveries after 30 days."""
    await call.tx.execute(_PURGE, {"before": call.now - _KEPT_FOR})
