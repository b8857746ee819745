"""Where bulk actions stand: their rows, counts and records in the database."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import bulk_action_pb2
from crmkit import clock
from crmkit.call import Call
from crmkit.db import Database, Executor, Transaction
from crmkit.job_tables import BULK_ACTION, BULK_ACTION_ROW
from crmkit.statements import Row, compile_statement

RUN_COLUMNS = tuple(BULK_ACTION.columns)
ISSUE_COLUMNS = tuple(BULK_ACTION_ROW.c[n] for n in ("record", "field", "reason", "message", "row"))
_NAMES = tuple(column.name for column in RUN_COLUMNS)
_COUNTS = ("processed_rows", "changed_count", "unchanged_count", "failed_count")
_ID = sa.bindparam("id", type_=sa.Uuid)
_BY_ID = sa.select(*RUN_COLUMNS).where(BULK_ACTION.c.id == _ID)
_INSERT = compile_statement(
    BULK_ACTION.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in RUN_COLUMNS})
)
_GET = compile_statement(_BY_ID)
_LOCK = compile_statement(_BY_ID.with_for_update())
_CHOOSE_NAMED = compile_statement(
    sa.text(
        'INSERT INTO bulk_action_row (bulk_action, "row", record)'
        " SELECT :id, row_number() OVER (ORDER BY record), record FROM unnest(:records) AS record"
    ).bindparams(_ID, sa.bindparam("records", type_=sa.ARRAY(sa.Uuid)))
)
_CHOOSE_CHANGED = compile_statement(
    sa.text(
        'INSERT INTO bulk_action_row (bulk_action, "row", record, reverted_version)'
        ' SELECT :id, row_number() OVER (ORDER BY "row"), record, version FROM bulk_action_row'
        " WHERE bulk_action = :reverted AND outcome = 'CHANGED'"
    ).bindparams(_ID, sa.bindparam("reverted", type_=sa.Uuid))
)
_BEGIN = compile_statement(
    sa.text(
        "UPDATE bulk_action SET state = 'RUNNING', total_rows ="
        " (SELECT count(*) FROM bulk_action_row WHERE bulk_action = :id) WHERE id = :id"
        " RETURNING total_rows"
    ).bindparams(_ID)
)
_NEXT = compile_statement(
    sa.text(
        'SELECT "row", record, reverted_version FROM bulk_action_row'
        ' WHERE bulk_action = :id AND "row" > :processed ORDER BY "row" LIMIT :size'
    ).bindparams(_ID)
)
_KEEP_OUTCOMES = compile_statement(
    sa.text(
        "UPDATE bulk_action_row AS r SET outcome = o.outcome, version = o.version, field = o.field,"
        " reason = o.reason, message = o.message FROM unnest(:rows, :outcomes, :versions, :fields,"
        ' :reasons, :messages) AS o ("row", outcome, version, field, reason, message)'
        ' WHERE r.bulk_action = :id AND r."row" = o."row"'
    ).bindparams(
        _ID,
        sa.bindparam("rows", type_=sa.ARRAY(sa.BigInteger)),
        sa.bindparam("versions", type_=sa.ARRAY(sa.BigInteger)),
        *[
            sa.bindparam(name, type_=sa.ARRAY(sa.Text))
            for name in ("outcomes", "fields", "reasons", "messages")
        ],
    )
)
_ADVANCE = compile_statement(
    sa.text(
        "UPDATE bulk_action SET processed_rows = processed_rows + :rows,"
        " changed_count = changed_count + :changed, unchanged_count = unchanged_count + :unchanged,"
        " failed_count = failed_count + :failed WHERE id = :id"
    ).bindparams(_ID)
)
_END = compile_statement(
    sa.text(
        "UPDATE bulk_action SET state = :state, end_time = :time, error_message = :message"
        " WHERE id = :id AND state IN ('QUEUED', 'RUNNING')"
        " RETURNING processed_rows, failed_count"
    ).bindparams(_ID, sa.bindparam("message", type_=sa.Text))
)
_FORGET_RECORDS = compile_statement(
    sa.delete(BULK_ACTION_ROW).where(
        BULK_ACTION_ROW.c.bulk_action == BULK_ACTION.c.id,
        BULK_ACTION.c.end_time < sa.bindparam("before", type_=BULK_ACTION.c.end_time.type),
    )
)


@dataclass(frozen=True)
class Run:
    """A bulk action as it stands in the database; attributes as in the contract."""

    id: UUID
    creator: UUID | None
    state: str
    specification: bulk_action_pb2.BulkAction
    correlation_id: str
    end_time: datetime | None
    total_rows: int | None
    processed_rows: int
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """The resource name."""
        return f"bulkActions/{self.id}"

    def message(self) -> bulk_action_pb2.BulkAction:
        """The bulk action as clients see it."""
        message = bulk_action_pb2.BulkAction()
        message.CopyFrom(self.specification)
        message.name = self.name
        message.state = bulk_action_pb2.BulkAction.State.Value(self.state)
        for count in _COUNTS:
            setattr(message, count, self.row[count])
        if self.total_rows is not None:
            message.total_rows = self.total_rows
        message.error_message = self.row["error_message"] or ""
        message.creator = f"users/{self.creator}" if self.creator else ""
        message.create_time.FromDatetime(self.row["create_time"])
        if self.end_time is not None:
            message.end_time.FromDatetime(self.end_time)
        return message


@dataclass(frozen=True)
class Chosen:
    """A record of a bulk action that waits for its turn."""

    row: int
    record: UUID
    reverted_version: int | None


@dataclass(frozen=True)
class Outcome:
    """What became of a record."""

    row: int
    outcome: str
    version: int | None = None
    issue: bulk_action_pb2.BulkActionIssue | None = None


def run_of(values: Row) -> Run:
    """The bulk action of a row selected with `RUN_COLUMNS`."""
    row = dict(zip(_NAMES, values, strict=True))
    return Run(
        id=row["id"],
        creator=row["creator"],
        state=row["state"],
        specification=bulk_action_pb2.BulkAction.FromString(bytes(row["specification"])),
        correlation_id=row["correlation_id"],
        end_time=row["end_time"],
        total_rows=row["total_rows"],
        processed_rows=row["processed_rows"],
        row=row,
    )


def new_run(
    id_: UUID,
    specification: bulk_action_pb2.BulkAction,
    call: Call,
    reverts: UUID | None = None,
) -> Run:
    """A bulk action, asked for by a call, that waits for a worker."""
    by = call.principal
    row: dict[str, Any] = {
        **dict.fromkeys(_NAMES),
        **dict.fromkeys(_COUNTS, 0),
        "id": id_,
        "creator": by.user,
        "limits": list(by.limits) if by.limits is not None else None,
        "create_time": call.now,
        "state": "QUEUED",
        "specification": specification.SerializeToString(deterministic=True),
        "reverts": reverts,
        "correlation_id": call.correlation_id,
    }
    return run_of(tuple(row[name] for name in _NAMES))


async def insert(tx: Transaction, run: Run) -> None:
    """Stores a new bulk action."""
    await tx.execute(_INSERT, run.row)


async def choose_named(tx: Transaction, id_: UUID, records: Sequence[UUID]) -> None:
    """Makes these the records of a new bulk action."""
    await tx.execute(_CHOOSE_NAMED, {"id": id_, "records": list(records)})


async def choose_changed(tx: Transaction, id_: UUID, reverted: UUID) -> None:
    """Makes those that another bulk action changed the records of a new one."""
    await tx.execute(_CHOOSE_CHANGED, {"id": id_, "reverted": reverted})


async def choose_found(
    tx: Transaction,
    id_: UUID,
    table: sa.Table,
    conditions: Sequence[sa.ColumnElement[bool]],
    parameters: Mapping[str, object],
    limit: int,
) -> None:
    """Makes the records that fulfil some conditions those of a bulk action; at most `limit`."""
    number = sa.func.row_number().over(order_by=table.c.id)
    found = (
        sa.select(sa.literal(id_, sa.Uuid), number, table.c.id)
        .where(*conditions)
        .order_by(table.c.id)
        .limit(limit)
    )
    statement = BULK_ACTION_ROW.insert().from_select(["bulk_action", "row", "record"], found)
    await tx.execute(compile_statement(statement), parameters)


async def find(executor: Executor, id_: UUID) -> Run | None:
    """A bulk action, if there is one."""
    row = await executor.fetch_one(_GET, {"id": id_})
    return run_of(row) if row is not None else None


async def lock(tx: Transaction, id_: UUID) -> Run | None:
    """A bulk action, which nobody else changes until the transaction ends."""
    row = await tx.fetch_one(_LOCK, {"id": id_})
    return run_of(row) if row is not None else None


async def begin(tx: Transaction, id_: UUID) -> int:
    """Says that the bulk action runs; answers over how many records."""
    row = await tx.fetch_one(_BEGIN, {"id": id_})
    return int(row[0]) if row else 0


async def next_records(tx: Transaction, run: Run, size: int) -> list[Chosen]:
    """The first records that have not been dealt with."""
    parameters = {"id": run.id, "processed": run.processed_rows, "size": size}
    return [Chosen(*row) for row in await tx.fetch_all(_NEXT, parameters)]


async def advance(tx: Transaction, id_: UUID, outcomes: Sequence[Outcome]) -> None:
    """Keeps what became of some records and counts them as dealt with."""
    issues = [o.issue or bulk_action_pb2.BulkActionIssue() for o in outcomes]
    kept = {
        "id": id_,
        "rows": [o.row for o in outcomes],
        "outcomes": [o.outcome for o in outcomes],
        "versions": [o.version for o in outcomes],
        "fields": [i.field or None for i in issues],
        "reasons": [i.reason or None for i in issues],
        "messages": [i.message or None for i in issues],
    }
    await tx.execute(_KEEP_OUTCOMES, kept)
    counts = {
        name.lower(): sum(o.outcome == name for o in outcomes)
        for name in ("CHANGED", "UNCHANGED", "FAILED")
    }
    await tx.execute(_ADVANCE, {"id": id_, "rows": len(outcomes), **counts})


async def end(
    tx: Transaction, run: Run, state: str, message: str = "", _reason: str = ""
) -> tuple[int, int] | None:
    """Ends a bulk action that has not ended yet.

    Returns:
        How many records were dealt with and how many of them failed; None if it had ended before.
    """
    text, now = message[:2000] or None, clock.now()
    row = await tx.fetch_one(_END, {"id": run.id, "state": state, "time": now, "message": text})
    return (int(row[0]), int(row[1])) if row is not None else None


async def forget_records(database: Database, before: datetime) -> None:
    """Forgets the records of bulk actions that ended before a time; the bulk actions stay."""
    await database.execute(_FORGET_RECORDS, {"before": before})


def issue_message(collection: str, row: Row) -> bulk_action_pb2.BulkActionIssue:
    """An issue as clients see it, of a row selected with `ISSUE_COLUMNS`."""
    record, field, reason, message, _ = row
    return bulk_action_pb2.BulkActionIssue(
        record=f"{collection}/{record}", field=field, reason=reason, message=message
    )
