"""How far the services' events are in the timelines, and how far their past has been read."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.schema import CONSUMER_CURSOR
from crmkit.statements import TEXT, compile_statement
from customer.storage.schema import CUSTOMER

SOURCES = ("customer", "sales", "support")

# Services whose events were applied before there were timelines: what was read again of their feeds.
timeline_sources = sa.Table(
    "timeline_sources",
    CUSTOMER,
    sa.Column("source", TEXT, primary_key=True),
    sa.Column("read_seq", sa.BigInteger, nullable=False),
    sa.Column("complete", sa.Boolean, nullable=False),
)
_s, _c = timeline_sources.c, CONSUMER_CURSOR.c
_PAST = compile_statement(sa.select(_s.source, _s.read_seq).order_by(_s.source))
_NOTE = compile_statement(
    insert(timeline_sources)
    .values(
        source=sa.bindparam("source"),
        read_seq=sa.bindparam("read_seq", type_=sa.BigInteger),
        complete=sa.bindparam("complete", type_=sa.Boolean),
    )
    .on_conflict_do_update(
        index_elements=["source"],
        set_={
            "read_seq": sa.bindparam("read_seq", type_=sa.BigInteger),
            "complete": sa.bindparam("complete", type_=sa.Boolean),
        },
    )
)
_APPLIED = compile_statement(
    sa.select(_c.source, _c.update_time, sa.func.coalesce(_s.complete, sa.true()))
    .select_from(CONSUMER_CURSOR.outerjoin(timeline_sources, _s.source == _c.source))
    .where(_c.source.in_(SOURCES))
)


@dataclass(frozen=True)
class Freshness:
    """How far a service's events are in the timelines."""

    source: str
    data_time: datetime | None
    reading_past: bool


async def freshness(call: Call) -> list[Freshness]:
    """How far each service's events are; ask before reading them, so that it promises too little.

    A process that consumes knows it from comparing with the source; another one knows only when the last
    event was applied.
    """
    rows = await call.reader.fetch_all(_APPLIED)
    applied = {source: (time, complete) for source, time, complete in rows}
    found = []
    for source in SOURCES:
        time, complete = applied.get(source, (None, True))
        status = call.home.consumed.get(source)
        data_time = status.data_time if status is not None else time
        found.append(Freshness(source, data_time, not complete))
    return found


async def past_to_read(call: Call) -> Sequence[tuple[str, int]]:
    """Services whose events were applied before there were timelines, and how far these were read again."""
    return [(row[0], row[1]) for row in await call.home.database.fetch_all(_PAST)]


async def note_read(tx: Transaction, source: str, seq: int, *, complete: bool) -> None:
    """Notes how far a service's past was read."""
    await tx.execute(_NOTE, {"source": source, "read_seq": seq, "complete": complete})
