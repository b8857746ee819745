"""Where a consumer stands in a source's feed."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.clock import now
from crmkit.db import Executor, Transaction
from crmkit.feed.events import Event, chain_of
from crmkit.schema import CONSUMER_CURSOR
from crmkit.statements import Row, compile_statement

_c = CONSUMER_CURSOR.c
_read = sa.select(_c.feed_id, _c.applied_seq, _c.applied_chain).where(
    _c.source == sa.bindparam("source")
)
_READ = compile_statement(_read)
_LOCK = compile_statement(_read.with_for_update())
_CREATE = compile_statement(
    insert(CONSUMER_CURSOR)
    .values(
        source=sa.bindparam("source"),
        applied_seq=0,
        applied_chain=b"",
        update_time=sa.bindparam("update_time"),
    )
    .on_conflict_do_nothing()
)
_ADOPT = compile_statement(
    sa.update(CONSUMER_CURSOR)
    .values(feed_id=sa.bindparam("new_feed_id", type_=sa.Uuid))
    .where(_c.source == sa.bindparam("at_source"))
)
_MOVE = compile_statement(
    sa.update(CONSUMER_CURSOR)
    .values(
        applied_seq=sa.bindparam("seq"),
        applied_chain=sa.bindparam("chain"),
        update_time=sa.bindparam("at"),
    )
    .where(_c.source == sa.bindparam("at_source"))
)


@dataclass(frozen=True, slots=True)
class Cursor:
    """The last event applied: its number and chain, and the feed's identity.

    The identity is empty before the first event.
    """

    feed_id: str = ""
    seq: int = 0
    chain: bytes = b""

    def continued_by(self, events: Sequence[Event]) -> tuple[list[Event], bool]:
        """Which events come next, and whether none after them is missing or of another chain."""
        new: list[Event] = []
        seq, chain = self.seq, self.chain
        for event in events:
            if event.feed_seq <= seq:
                continue
            if not self.feed_id or event.feed_seq != seq + 1:
                return new, False
            if chain_of(chain, event.wire) != event.wire.chain:
                return new, False
            new.append(event)
            seq, chain = event.feed_seq, event.wire.chain
        return new, True


def _cursor(row: Row | None) -> Cursor:
    if row is None:
        return Cursor()
    return Cursor(str(row[0]) if row[0] else "", row[1], row[2])


async def read_cursor(executor: Executor, source: str) -> Cursor:
    """The cursor as it is now; at the beginning if there is none yet."""
    return _cursor(await executor.fetch_one(_READ, {"source": source}))


async def lock_cursor(tx: Transaction, source: str, feed_id: str) -> Cursor:
    """The cursor, locked until the transaction ends; a new one belongs to `feed_id`."""
    row = await tx.fetch_one(_LOCK, {"source": source})
    if row is None:
        await tx.execute(_CREATE, {"source": source, "update_time": now()})
        row = await tx.fetch_one(_LOCK, {"source": source})
    cursor = _cursor(row)
    if feed_id and not cursor.feed_id:
        await tx.execute(_ADOPT, {"new_feed_id": UUID(feed_id), "at_source": source})
        return Cursor(feed_id, cursor.seq, cursor.chain)
    return cursor


async def move_cursor(tx: Transaction, source: str, event: Event) -> None:
    """Marks this event and all before it as applied."""
    await tx.execute(
        _MOVE,
        {
            "seq": event.feed_seq,
            "chain": event.wire.chain,
            "at": now(),
            "at_source": source,
        },
    )
