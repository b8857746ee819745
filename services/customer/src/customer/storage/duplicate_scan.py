"""Where scans for duplicates stand, and how far the event log has been looked at."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.customer.v1 import duplicate_scan_pb2
from crmkit.db import Executor
from crmkit.schema import EVENT_LOG, RELAY_STATE
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from customer.storage.account import accounts
from customer.storage.contact import contacts
from customer.storage.schema import CUSTOMER

# One row: the event up to which changed records were looked at.
duplicate_watch = sa.Table(
    "duplicate_watch",
    CUSTOMER,
    sa.Column("one", sa.Boolean, sa.CheckConstraint("one"), primary_key=True),
    sa.Column("feed_seq", sa.BigInteger, nullable=False),
)
duplicate_scans = sa.Table(
    "duplicate_scans",
    CUSTOMER,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("resource", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("position", sa.Uuid),  # the last record compared
    sa.Column("total_rows", sa.BigInteger),
    sa.Column("processed_rows", sa.BigInteger, nullable=False),
    sa.Column("found_count", sa.BigInteger, nullable=False),
    sa.Column("error_message", TEXT),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Column("creator", sa.Uuid),
    sa.Index(
        "uq_duplicate_scans_resource",
        "resource",
        unique=True,
        postgresql_where=sa.text("state IN ('QUEUED', 'RUNNING')"),
    ),
)

ACTIVE = ("QUEUED", "RUNNING")
TABLES = {"contacts": contacts, "accounts": accounts}
SCAN_COLUMNS = tuple(duplicate_scans.columns)
SCANS = sa.select(*SCAN_COLUMNS)
_EVENTS_AT_ONCE = 2000
_ID = sa.bindparam("id", type_=sa.Uuid)
_WATCHED = compile_statement(sa.text("SELECT feed_seq FROM duplicate_watch FOR UPDATE SKIP LOCKED"))
_in_log = EVENT_LOG.c.feed_seq > sa.bindparam("after", type_=sa.BigInteger)
# Of the next events, the last of each record; a record's name says its collection.
_CHANGED = compile_statement(
    sa.select(EVENT_LOG.c.feed_seq, EVENT_LOG.c.subject)
    .where(
        _in_log,
        EVENT_LOG.c.feed_seq <= sa.bindparam("until", type_=sa.BigInteger),
        sa.or_(*(EVENT_LOG.c.subject.startswith(f"{name}/") for name in TABLES)),
    )
    .order_by(EVENT_LOG.c.feed_seq)
    .limit(sa.bindparam("most", type_=sa.Integer))
)
_HEAD = compile_statement(sa.select(RELAY_STATE.c.last_seq))
_ADVANCE = compile_statement(sa.text("UPDATE duplicate_watch SET feed_seq = :seq"))
_INSERT = compile_statement(
    duplicate_scans.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in SCAN_COLUMNS}
    )
)
_HOLD = compile_statement(
    sa.text("SELECT pg_advisory_xact_lock(hashtextextended('duplicate_scans', 0))")
)
_by_id = sa.select(*SCAN_COLUMNS).where(duplicate_scans.c.id == _ID)
_GET = compile_statement(_by_id)
_LOCK = compile_statement(_by_id.with_for_update())
_ACTIVE = compile_statement(
    sa.select(*SCAN_COLUMNS).where(
        duplicate_scans.c.resource == sa.bindparam("resource"),
        sa.or_(*(duplicate_scans.c.state == state for state in ACTIVE)),
    )
)
_BEGIN = {
    name: compile_statement(
        sa.update(duplicate_scans)
        .where(duplicate_scans.c.id == _ID)
        .values(
            state="RUNNING",
            total_rows=sa.select(sa.func.count())
            .select_from(table)
            .where(table.c.delete_time.is_(None))
            .scalar_subquery(),
        )
    )
    for name, table in TABLES.items()
}
_NEXT = {
    name: compile_statement(
        sa.select(table.c.id)
        .where(table.c.delete_time.is_(None), table.c.id > sa.bindparam("position", type_=sa.Uuid))
        .order_by(table.c.id)
        .limit(sa.bindparam("most", type_=sa.Integer))
    )
    for name, table in TABLES.items()
}
_MOVE = compile_statement(
    sa.text(
        "UPDATE duplicate_scans SET position = :position, processed_rows = processed_rows + :rows,"
        " found_count = found_count + :found WHERE id = :id"
    ).bindparams(_ID, sa.bindparam("position", type_=sa.Uuid))
)
_END = compile_statement(
    sa.text(
        "UPDATE duplicate_scans SET state = :state, end_time = :time, error_message = :message"
        " WHERE id = :id AND state IN ('QUEUED', 'RUNNING')"
    ).bindparams(_ID, sa.bindparam("message", type_=sa.Text))
)


@dataclass(frozen=True)
class Changed:
    """Records that were changed: after which event, up to which, and their names."""

    before: int
    seq: int
    subjects: list[str]


async def changed_after(tx: Executor, most: int) -> Changed | None:
    """The next records that were changed; None if another process holds the cursor."""
    watched = await tx.fetch_one(_WATCHED)
    head = await tx.fetch_one(_HEAD)
    if watched is None or head is None:
        return None
    before = int(watched[0])
    until = min(int(head[0]), before + _EVENTS_AT_ONCE)
    rows = await tx.fetch_all(_CHANGED, {"after": before, "until": until, "most": most})
    seq = int(rows[-1][0]) if len(rows) == most else max(until, before)
    return Changed(before, seq, list(dict.fromkeys(row[1] for row in rows)))


async def advance(tx: Executor, seq: int) -> None:
    """The event log has been looked at up to here."""
    await tx.execute(_ADVANCE, {"seq": seq})


def scan_message(row: Row) -> duplicate_scan_pb2.DuplicateScan:
    """A scan, of a row of `SCAN_COLUMNS`, as clients see it."""
    values = named(row)
    message = duplicate_scan_pb2.DuplicateScan(
        name=f"duplicateScans/{values['id']}",
        resource=values["resource"],
        state=duplicate_scan_pb2.DuplicateScan.State.Value(values["state"]),
        processed_rows=values["processed_rows"],
        found_count=values["found_count"],
        error_message=values["error_message"] or "",
        creator=f"users/{values['creator']}" if values["creator"] else "",
    )
    if values["total_rows"] is not None:
        message.total_rows = values["total_rows"]
    message.create_time.FromDatetime(values["create_time"])
    if values["end_time"] is not None:
        message.end_time.FromDatetime(values["end_time"])
    return message


def named(row: Row) -> dict[str, Any]:
    """A row of `SCAN_COLUMNS` by column."""
    return dict(zip((column.name for column in SCAN_COLUMNS), row, strict=True))


async def insert_scan(
    tx: Executor, id_: UUID, resource: str, creator: UUID | None, time: datetime
) -> None:
    """A scan that waits for a worker."""
    empty = dict.fromkeys(("position", "total_rows", "error_message", "end_time"))
    counts = {"processed_rows": 0, "found_count": 0}
    row = {"id": id_, "resource": resource, "state": "QUEUED", "creator": creator}
    await tx.execute(_INSERT, {**empty, **counts, **row, "create_time": time})


async def hold_scans(tx: Executor) -> None:
    """Nobody else starts a scan before the transaction ends."""
    await tx.fetch_one(_HOLD)


async def find_scan(reader: Executor, id_: UUID) -> Row | None:
    """A scan."""
    return await reader.fetch_one(_GET, {"id": id_})


async def lock_scan(tx: Executor, id_: UUID) -> Row | None:
    """A scan, which nobody else changes before the transaction ends."""
    return await tx.fetch_one(_LOCK, {"id": id_})


async def active_scan(reader: Executor, resource: str) -> Row | None:
    """The scan of a collection that has not ended; there is one at most."""
    return await reader.fetch_one(_ACTIVE, {"resource": resource})


async def begin_scan(tx: Executor, id_: UUID, resource: str) -> None:
    """A worker has taken a scan: how many records there are is counted now."""
    await tx.execute(_BEGIN[resource], {"id": id_})


async def next_records(tx: Executor, resource: str, position: UUID | None, most: int) -> list[UUID]:
    """The next records of a scan."""
    parameters = {"position": position or UUID(int=0), "most": most}
    rows = await tx.fetch_all(_NEXT[resource], parameters)
    return [row[0] for row in rows]


async def move_scan(tx: Executor, id_: UUID, position: UUID, rows: int, found: int) -> None:
    """Some more records have been compared."""
    parameters = {"id": id_, "position": position, "rows": rows, "found": found}
    await tx.execute(_MOVE, parameters)


async def end_scan(
    tx: Executor, id_: UUID, state: str, time: datetime, message: str | None = None
) -> None:
    """A scan has ended, unless it had before."""
    await tx.execute(_END, {"id": id_, "state": state, "time": time, "message": message})
