"""Where exports stand: their rows, progress and files in the database."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1 import export_pb2
from crmkit import clock
from crmkit.access import Principal
from crmkit.db import Database, Executor, Transaction
from crmkit.job_tables import EXPORT, EXPORT_CHUNK
from crmkit.statements import Row, compile_statement
from crmtransfer.exports.csv_writer import chunks

RUN_COLUMNS = tuple(EXPORT.columns)
_NAMES = tuple(column.name for column in RUN_COLUMNS)
_ID = sa.bindparam("id", type_=sa.Uuid)
_BY_ID = sa.select(*RUN_COLUMNS).where(EXPORT.c.id == _ID)
_INSERT = compile_statement(
    EXPORT.insert().values({c.name: sa.bindparam(c.name, type_=c.type) for c in RUN_COLUMNS})
)
_GET = compile_statement(_BY_ID)
_LOCK = compile_statement(_BY_ID.with_for_update())
_BEGIN = compile_statement(
    sa.text("UPDATE export SET state = 'RUNNING', total_rows = :total WHERE id = :id")
)
_ADVANCE = compile_statement(
    sa.text(
        "UPDATE export SET processed_rows = processed_rows + :rows, page_token = :token,"
        " size_bytes = size_bytes + :bytes, chunk_count = chunk_count + :chunks WHERE id = :id"
    )
)
_PUT = compile_statement(
    sa.text('INSERT INTO export_chunk (export, "index", data) VALUES (:id, :index, :data)')
)
_PUT_AGAIN = compile_statement(
    sa.text(
        'INSERT INTO export_chunk (export, "index", data) VALUES (:id, :index, :data)'
        ' ON CONFLICT (export, "index") DO UPDATE SET data = EXCLUDED.data'
    )
)
_REPLACE = compile_statement(
    sa.text("UPDATE export SET chunk_count = :chunks, size_bytes = :bytes WHERE id = :id")
)
_DELETE_DRAFT = compile_statement(
    sa.text('DELETE FROM export_chunk WHERE export = :id AND "index" < 0')
)
_GET_CHUNK = compile_statement(
    sa.select(EXPORT_CHUNK.c.data).where(
        EXPORT_CHUNK.c.export == _ID, EXPORT_CHUNK.c.index == sa.bindparam("index")
    )
)
_END = compile_statement(
    sa.text(
        "UPDATE export SET state = :state, end_time = :time, error_message = :message"
        " WHERE id = :id AND state IN ('QUEUED', 'RUNNING') RETURNING processed_rows"
    ).bindparams(_ID, sa.bindparam("message", type_=sa.Text))
)
_DELETE_FILE = compile_statement(sa.delete(EXPORT_CHUNK).where(EXPORT_CHUNK.c.export == _ID))
_DELETE_OLD_FILES = compile_statement(
    sa.delete(EXPORT_CHUNK).where(
        EXPORT_CHUNK.c.export == EXPORT.c.id,
        EXPORT.c.end_time < sa.bindparam("before", type_=EXPORT.c.end_time.type),
    )
)


@dataclass(frozen=True)
class Run:
    """An export as it stands in the database.

    Attributes:
        page_token: Where the next page begins; None before the first.
        chunk_count: How many pieces of the file there are.
    """

    id: UUID
    creator: UUID | None
    state: str
    specification: export_pb2.Export
    page_token: str | None
    processed_rows: int
    chunk_count: int
    row: dict[str, Any]

    @property
    def name(self) -> str:
        """The resource name."""
        return f"exports/{self.id}"

    @property
    def is_workbook(self) -> bool:
        """True if the file is to be XLSX."""
        return self.specification.format == export_pb2.Export.XLSX

    def message(self) -> export_pb2.Export:
        """The export as clients see it."""
        message = export_pb2.Export()
        message.CopyFrom(self.specification)
        message.name = self.name
        message.state = export_pb2.Export.State.Value(self.state)
        if self.row["total_rows"] is not None:
            message.total_rows = self.row["total_rows"]
        message.processed_rows = self.processed_rows
        message.size_bytes = self.row["size_bytes"]
        message.error_message = self.row["error_message"] or ""
        message.creator = f"users/{self.creator}" if self.creator else ""
        message.create_time.FromDatetime(self.row["create_time"])
        if self.row["end_time"] is not None:
            message.end_time.FromDatetime(self.row["end_time"])
        return message


def run_of(values: Row) -> Run:
    """The export of a row selected with `RUN_COLUMNS`."""
    row = dict(zip(_NAMES, values, strict=True))
    return Run(
        id=row["id"],
        creator=row["creator"],
        state=row["state"],
        specification=export_pb2.Export.FromString(bytes(row["specification"])),
        page_token=row["page_token"],
        processed_rows=row["processed_rows"],
        chunk_count=row["chunk_count"],
        row=row,
    )


def new_run(id_: UUID, by: Principal, wanted: export_pb2.Export, now: datetime) -> Run:
    """An export that waits for a worker."""
    row: dict[str, Any] = dict.fromkeys(_NAMES) | {
        "id": id_,
        "creator": by.user,
        "limits": list(by.limits) if by.limits is not None else None,
        "create_time": now,
        "state": "QUEUED",
        "specification": wanted.SerializeToString(deterministic=True),
        "processed_rows": 0,
        "size_bytes": 0,
        "chunk_count": 0,
    }
    return run_of(tuple(row[name] for name in _NAMES))


async def insert(tx: Transaction, run: Run) -> None:
    """Stores a new export."""
    await tx.execute(_INSERT, run.row)


async def find(executor: Executor, id_: UUID) -> Run | None:
    """An export, if there is one."""
    row = await executor.fetch_one(_GET, {"id": id_})
    return run_of(row) if row is not None else None


async def lock(tx: Transaction, id_: UUID) -> Run | None:
    """An export, which nobody else changes until the transaction ends."""
    row = await tx.fetch_one(_LOCK, {"id": id_})
    return run_of(row) if row is not None else None


async def begin(tx: Transaction, id_: UUID, total: int) -> None:
    """Says that the export runs, and over how many records."""
    await tx.execute(_BEGIN, {"id": id_, "total": total})


async def advance(
    tx: Transaction, run: Run, data: bytes, rows: int, token: str, *, draft: bool
) -> None:
    """Adds rows to the file, or to the draft that it is made from, and says where the next page begins."""
    pieces = list(chunks(data))
    for index, piece in enumerate(pieces, start=run.chunk_count):
        place = _in_draft(index) if draft else index
        await tx.execute(_PUT, {"id": run.id, "index": place, "data": piece})
    await tx.execute(
        _ADVANCE,
        {"id": run.id, "rows": rows, "token": token, "bytes": len(data), "chunks": len(pieces)},
    )


def _in_draft(index: int) -> int:
    """Pieces of a draft count downwards from -1, those of the file upwards from 0."""
    return -1 - index


async def put(database: Database, run: Run, index: int, data: bytes) -> None:
    """Stores a piece of the file that is made from the draft; a repeat stores it anew."""
    await database.execute(_PUT_AGAIN, {"id": run.id, "index": index, "data": data})


async def replace_draft(tx: Transaction, run: Run, count: int, size: int) -> None:
    """Puts the file made from the draft, so many pieces and bytes, in the draft's place."""
    await tx.execute(_DELETE_DRAFT, {"id": run.id})
    await tx.execute(_REPLACE, {"id": run.id, "chunks": count, "bytes": size})


async def end(
    tx: Transaction, run: Run, state: str, message: str = "", _reason: str = ""
) -> tuple[int, int] | None:
    """Ends an export that has not ended yet; only one that succeeded keeps its file.

    Returns:
        How many records were written, of which none failed; None if it had ended before.
    """
    text, now = message[:2000] or None, clock.now()
    row = await tx.fetch_one(_END, {"id": run.id, "state": state, "time": now, "message": text})
    if state != "SUCCEEDED":
        await tx.execute(_DELETE_FILE, {"id": run.id})
    return (int(row[0]), 0) if row is not None else None


async def delete_files(database: Database, before: datetime) -> None:
    """Deletes the files of exports that ended before a time; the exports themselves stay."""
    await database.execute(_DELETE_OLD_FILES, {"before": before})


async def file(database: Database, run: Run, *, draft: bool = False) -> AsyncIterator[bytes]:
    """The file, or the draft that it is made from, in pieces; nothing if it is deleted."""
    for index in range(run.chunk_count):
        place = _in_draft(index) if draft else index
        row = await database.fetch_one(_GET_CHUNK, {"id": run.id, "index": place})
        if row is None:
            return
        yield bytes(row[0])
