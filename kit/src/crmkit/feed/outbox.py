"""Writing events beside the change they tell of, in the same transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import attrgetter
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Transaction
from crmkit.schema import EVENT_COLUMNS, OUTBOX
from crmkit.statements import compile_statement, copy_target

# One event; its parameters are its columns.
INSERT = sa.insert(OUTBOX).values(
    {name: sa.bindparam(name, type_=OUTBOX.c[name].type) for name in EVENT_COLUMNS}
)
_INSERT = compile_statement(INSERT.inline())
_COPY = copy_target(OUTBOX, [OUTBOX.c[name] for name in EVENT_COLUMNS])
_values = attrgetter(*EVENT_COLUMNS)


@dataclass(slots=True, kw_only=True)
class OutboxEvent:
    """An event before it has a place in the feed.

    Attributes:
        event_id: UUIDv7 of the event.
        type: Full name of the event message, `crm.sales.v1.OpportunityWon`.
        routing_key: `sales.opportunity.won`.
        subject: Name of the record that changed.
        subject_version: The record's version after the change.
        event_index: 0 for the first event of a version, 1, 2 … for further ones.
        time: When it was recorded.
        effective_time: When it happened in the business.
        actor: `users/…` or `services/…`.
        owner: The record's owner after the change.
        team: The record's team after the change.
        imported: True if an import wrote it.
        correlation_id: The request that started it all.
        causation_id: The event, or the bulk action, that caused it, if any.
        traceparent: W3C trace context.
        payload: The event message, deterministic protobuf without personal data.
    """

    event_id: UUID
    type: str
    routing_key: str
    subject: str
    subject_version: int
    event_index: int
    time: datetime
    effective_time: datetime
    actor: str
    owner: UUID | None
    team: UUID | None
    imported: bool
    correlation_id: str
    causation_id: str
    traceparent: str
    payload: bytes


def row(event: OutboxEvent) -> dict[str, Any]:
    """An event by column."""
    return dict(zip(EVENT_COLUMNS, _values(event), strict=True))


async def append(tx: Transaction, events: Sequence[OutboxEvent]) -> None:
    """Queues the events behind the transaction's earlier statements.

    The record's row must have been changed (and thereby locked) before: the order of a record's
    events rests on it.
    """
    for event in events:
        await tx.execute(_INSERT, row(event))


async def append_many(tx: Transaction, events: Sequence[OutboxEvent]) -> None:
    """Appends the many events of a bulk write with COPY."""
    await tx.copy(_COPY, map(_values, events))
