"""Where imports stand: their rows, counts and issues in the database."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import import_pb2
from crmkit import clock
from crmkit.access import Principal
from crmkit.db import Executor, Transaction
from crmkit.job_tables import IMPORT, IMPORT_ISSUE
from crmkit.statements import Row, compile_statement
from crmtransfer.imports import uploads
from crmtransfer.imports.mapping import Issue

_COLUMNS = tuple(IMPORT.columns)
_NAMES = tuple(column.name for column in _COLUMNS)
_COUNTS = (
    "total_rows", "processed_rows", "created_count", "updated_count", "skipped_count",
    "failed_count", "warning_count",
)  # fmt: skip
_ID = sa.bindparam("id", type_=sa.Uuid)
_BY_ID = sa.select(*_COLUMNS).where(IMPORT.c.id == _ID)
_INSERT = compile_statement(
    IMPORT.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS})
)
_GET = compile_statement(_BY_ID)
_LOCK = compile_statement(_BY_ID.with_for_update())
_BEGIN = compile_statement(
    sa.text("UPDATE import SET state = 'RUNNING', total_rows = :total WHERE id = :id")
)
_ADVANCE = compile_statement(
    sa.text(
        "UPDATE import SET processed_rows = processed_rows + :rows,"
        " created_count = created_count + :created, updated_count = updated_count + :updated,"
        " skipped_count = skipped_count + :skipped, failed_count = failed_count + :failed,"
        " warning_count = warning_count + :warned WHERE id = :id"
    )
)
_NOTE = compile_statement(
    sa.text(
        'INSERT INTO import_issue (import, "row", "index", field, reason, message, severity)'
        " SELECT :id, * FROM unnest(:rows, :indexes, :fields, :reasons, :messages, :severities)"
        " ON CONFLICT DO NOTHING"
    ).bindparams(
        _ID,
        sa.bindparam("rows", type_=sa.ARRAY(sa.BigInteger)),
        sa.bindparam("indexes", type_=sa.ARRAY(sa.SmallInteger)),
        *[
            sa.bindparam(name, type_=sa.ARRAY(sa.Text))
            for name in ("fields", "reasons", "messages", "severities")
        ],
    )
)
_END = compile_statement(
    sa.text(
        "UPDATE import SET state = :state, end_time = :time, error_message = :message,"
        " error_reason = :reason WHERE id = :id AND state IN ('QUEUED', 'RUNNING')"
        " RETURNING processed_rows, failed_count"
    ).bindparams(_ID, sa.bindparam("message", type_=sa.Text), sa.bindparam("reason", type_=sa.Text))
)
_COUNT_WARNINGS = compile_statement(
    sa.text(
        'UPDATE import SET warning_count = (SELECT count(DISTINCT "row") FROM import_issue'
        " WHERE import = :id AND severity = 'WARNING') WHERE id = :id"
    ).bindparams(_ID)
)


@dataclass(frozen=True)
class Run:
    """An import as it stands in the database; attributes as in the contract."""

    id: UUID
    creator: UUID | None
    state: str
    upload: UUID
    specification: import_pb2.Import
    total_rows: int
    processed_rows: int
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """The resource name."""
        return f"imports/{self.id}"

    def message(self) -> import_pb2.Import:
        """The import as clients see it."""
        message = import_pb2.Import()
        message.CopyFrom(self.specification)
        message.name = self.name
        message.state = import_pb2.Import.State.Value(self.state)
        for count in _COUNTS:
            setattr(message, count, self.row[count])
        message.error_message = self.row["error_message"] or ""
        message.error_reason = self.row["error_reason"] or ""
        message.creator = f"users/{self.creator}" if self.creator else ""
        message.create_time.FromDatetime(self.row["create_time"])
        if self.row["end_time"] is not None:
            message.end_time.FromDatetime(self.row["end_time"])
        return message


@dataclass(slots=True)
class Tally:
    """What became of some rows."""

    rows: int = 0
    created: int = 0
    updated: int = 0
    skipped: int = 0
    failed: int = 0
    warned: int = 0


def run_of(values: Row) -> Run:
    """The import of a row selected with `columns`."""
    row = dict(zip(_NAMES, values, strict=True))
    return Run(
        id=row["id"],
        creator=row["creator"],
        state=row["state"],
        upload=row["upload"],
        specification=import_pb2.Import.FromString(bytes(row["specification"])),
        total_rows=row["total_rows"],
        processed_rows=row["processed_rows"],
        row=row,
    )


def new_run(
    id_: UUID, by: Principal, upload: UUID, specification: import_pb2.Import, now: datetime
) -> Run:
    """An import that waits for a worker."""
    row = dict.fromkeys(_COUNTS, 0) | {
        "id": id_,
        "creator": by.user,
        "limits": list(by.limits) if by.limits is not None else None,
        "create_time": now,
        "end_time": None,
        "state": "QUEUED",
        "upload": upload,
        "specification": specification.SerializeToString(deterministic=True),
        "error_message": None,
        "error_reason": None,
    }
    return run_of(tuple(row[name] for name in _NAMES))


async def insert(tx: Transaction, run: Run) -> None:
    """Stores a new import."""
    await tx.execute(_INSERT, run.row)


async def find(executor: Executor, id_: UUID) -> Run | None:
    """An import, if there is one."""
    row = await executor.fetch_one(_GET, {"id": id_})
    return run_of(row) if row is not None else None


async def lock(tx: Transaction, id_: UUID) -> Run | None:
    """An import, which nobody else changes until the transaction ends."""
    row = await tx.fetch_one(_LOCK, {"id": id_})
    return run_of(row) if row is not None else None


async def begin(tx: Transaction, id_: UUID, total: int) -> None:
    """Says that the import runs, and over how many rows."""
    await tx.execute(_BEGIN, {"id": id_, "total": total})


async def advance(tx: Transaction, id_: UUID, tally: Tally, issues: Sequence[Issue]) -> None:
    """Counts rows as dealt with and keeps what was wrong with them."""
    counts = {name: getattr(tally, name) for name in Tally.__dataclass_fields__}
    await tx.execute(_ADVANCE, {"id": id_, **counts})
    await note(tx, id_, issues)


async def note(tx: Transaction, id_: UUID, issues: Sequence[Issue], first_index: int = 0) -> None:
    """Keeps issues; those that are kept already stay as they are."""
    if not issues:
        return
    indexes: list[int] = []
    for position, issue in enumerate(issues):
        same_row = position and issues[position - 1].row == issue.row
        indexes.append(indexes[-1] + 1 if same_row else first_index)
    await tx.execute(
        _NOTE,
        {
            "id": id_,
            "rows": [i.row for i in issues],
            "indexes": indexes,
            "fields": [i.field for i in issues],
            "reasons": [i.reason for i in issues],
            "messages": [i.message for i in issues],
            "severities": [i.severity for i in issues],
        },
    )


async def end(
    tx: Transaction, run: Run, state: str, message: str = "", reason: str = ""
) -> tuple[int, int] | None:
    """Ends an import that has not ended yet, and gives its file up; after a preview it stays for the import.

    Returns:
        How many rows were dealt with and how many of them failed; None if it had ended before.
    """
    await tx.execute(_COUNT_WARNINGS, {"id": run.id})
    said = {"message": message[:2000] or None, "reason": reason or None}
    parameters = {"id": run.id, "state": state, "time": clock.now(), **said}
    row = await tx.fetch_one(_END, parameters)
    if not run.specification.validate_only:
        await tx.execute(uploads.DELETE, {"id": run.upload})
    return (int(row[0]), int(row[1])) if row is not None else None


def issue_message(row: Row) -> import_pb2.ImportIssue:
    """An issue as clients see it: (row, field, reason, message, severity)."""
    number, field, reason, message, severity = row
    return import_pb2.ImportIssue(
        row=number,
        field=field,
        reason=reason,
        message=message,
        severity=import_pb2.ImportIssue.Severity.Value(severity),
    )


ISSUE_COLUMNS = (
    IMPORT_ISSUE.c.row, IMPORT_ISSUE.c.field, IMPORT_ISSUE.c.reason, IMPORT_ISSUE.c.message,
    IMPORT_ISSUE.c.severity, IMPORT_ISSUE.c.index,
)  # fmt: skip
RUN_COLUMNS = _COLUMNS
