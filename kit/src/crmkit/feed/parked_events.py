"""The table of events that could not be applied, and of the later ones of their subjects."""

from collections.abc import Sequence

import sqlalchemy as sa

from crmkit.clock import now
from crmkit.db import Transaction
from crmkit.feed.events import Event
from crmkit.schema import PARKED_EVENT
from crmkit.statements import compile_statement

_c = PARKED_EVENT.c
_INSERT = compile_statement(
    sa.insert(PARKED_EVENT).values(
        {column.name: sa.bindparam(column.name, type_=column.type) for column in _c}
    )
)
_BLOCKED = compile_statement(
    sa.select(_c.subject)
    .distinct()
    .where(_c.source == sa.bindparam("source"))
    # One text: the driver takes long to write an array.
    .where(_c.subject == sa.any_(sa.func.string_to_array(sa.bindparam("subjects"), "\n")))
)


async def blocked_subjects(tx: Transaction, source: str, events: Sequence[Event]) -> set[str]:
    """The subjects among these events that have parked ones: later events must wait behind them."""
    subjects = "\n".join({event.subject for event in events})
    rows = await tx.fetch_all(_BLOCKED, {"source": source, "subjects": subjects})
    return {row[0] for row in rows}


async def park(tx: Transaction, source: str, event: Event, error: str, attempts: int) -> None:
    """Puts an event aside; 0 attempts means that it only waits for an earlier one."""
    await tx.execute(
        _INSERT,
        {
            "source": source,
            "feed_seq": event.feed_seq,
            "subject": event.subject,
            "event": event.wire.SerializeToString(),
            "error": error,
            "attempts": attempts,
            "park_time": now(),
        },
    )
