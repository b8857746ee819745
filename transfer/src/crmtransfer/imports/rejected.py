"""Rows that an import refused: kept as they stood in the file, handed out with what is wrong with them.

A person mends them and imports that file: the column of errors fills no field.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Database, Transaction
from crmkit.job_tables import IMPORT, IMPORT_REJECTED_ROW
from crmkit.statements import compile_statement
from crmtransfer.exports.csv_writer import csv_bytes
from crmtransfer.formulas import guarded_cell
from crmtransfer.imports.rows import FileRow

ERROR_COLUMN = "import_error"
KEPT_FOR = timedelta(days=7)
_HEADER_ROW = 0
_PAGE_ROWS = 500

_KEEP = compile_statement(
    sa.text(
        'INSERT INTO import_rejected_row (import, "row", cells) VALUES (:id, :row, :cells)'
        " ON CONFLICT DO NOTHING"
    ).bindparams(sa.bindparam("id", type_=sa.Uuid), sa.bindparam("cells", type_=sa.ARRAY(sa.Text)))
)
_PAGE = compile_statement(
    sa.text(
        'SELECT r."row", r.cells, (SELECT string_agg('
        "CASE WHEN i.field = '' THEN i.message ELSE i.field || ': ' || i.message END,"
        " ' ' ORDER BY i.\"index\") FROM import_issue i"
        ' WHERE i.import = r.import AND i."row" = r."row" AND i.severity = \'ERROR\')'
        ' FROM import_rejected_row r WHERE r.import = :id AND r."row" > :after'
        ' ORDER BY r."row" LIMIT :most'
    ).bindparams(sa.bindparam("id", type_=sa.Uuid))
)
_DELETE_OLD = compile_statement(
    sa.delete(IMPORT_REJECTED_ROW).where(
        getattr(IMPORT_REJECTED_ROW.c, "import") == IMPORT.c.id,
        IMPORT.c.end_time < sa.bindparam("before", type_=IMPORT.c.end_time.type),
    )
)


async def keep_header(tx: Transaction, id_: UUID, header: Sequence[str]) -> None:
    """Keeps the file's columns, once."""
    await tx.execute(_KEEP, {"id": id_, "row": _HEADER_ROW, "cells": _storable(header)})


async def keep(tx: Transaction, id_: UUID, rows: Iterable[FileRow]) -> None:
    """Keeps rows that are refused."""
    for row in rows:
        await tx.execute(_KEEP, {"id": id_, "row": row.number, "cells": _storable(row.cells)})


def _storable(cells: Iterable[str]) -> list[str]:
    return [cell.replace("\x00", "\N{REPLACEMENT CHARACTER}") for cell in cells]


async def delete_old(database: Database, now: datetime) -> None:
    """Deletes the rows of imports that ended long ago; the imports and their issues stay."""
    await database.execute(_DELETE_OLD, {"before": now - KEPT_FOR})


async def file(database: Database, id_: UUID) -> AsyncIterator[bytes]:
    """The rows with their errors as CSV, in pieces; nothing if they are deleted."""
    after, width, old = -1, 0, -1
    while page := await database.fetch_all(_PAGE, {"id": id_, "after": after, "most": _PAGE_ROWS}):
        lines = []
        for number, cells, errors in page:
            error = errors or ""
            if number == _HEADER_ROW:
                # Of a file that was mended once and refused again, only the newest errors.
                old = cells.index(ERROR_COLUMN) if ERROR_COLUMN in cells else -1
                error, width = ERROR_COLUMN, len(cells)
            lines.append(_line(cells, error, width, old))
        yield csv_bytes(lines)
        after = page[-1][0]


def _line(cells: Sequence[str], error: str, width: int, old: int) -> list[str]:
    """A row with its error behind the last column; a row that is too long goes on behind that."""
    own = [guarded_cell(cell) for cell in cells]
    own += [""] * (width - len(own))
    before = [cell for index, cell in enumerate(own[:width]) if index != old]
    return [*before, guarded_cell(error), *own[width:]]
