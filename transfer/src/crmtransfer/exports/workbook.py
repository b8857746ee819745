"""Exports as workbooks (XLSX): written as a draft in CSV page by page, at last made into one file.

So an export goes on behind the last page that is written, although a workbook can only be written whole.
"""

import json
from collections.abc import Sequence
from contextlib import aclosing

from crmkit.call import Home
from crmkit.errors import FailedPrecondition
from crmtransfer.exports import runs
from crmtransfer.exports.columns import Column
from crmtransfer.exports.csv_writer import CHUNK_BYTES
from crmtransfer.sandboxed import TooCostlyError, output_of

MAX_ROWS = 100_000
_MAX_CELL_CHARS = 32_767  # of a cell in the format


def check_count(total: int) -> None:
    """Raises FailedPrecondition where there are more records than a workbook may have rows."""
    if total > MAX_ROWS:
        msg = f"These are {total:,} records; a workbook takes {MAX_ROWS:,}. Export CSV, or filter."
        raise FailedPrecondition(msg, reason="TOO_MANY_ROWS")


def check_row(columns: Sequence[Column], cells: Sequence[str]) -> None:
    """Raises FailedPrecondition where a text is longer than a cell may be: it would be cut."""
    for column, cell in zip(columns, cells, strict=True):
        if len(cell) > _MAX_CELL_CHARS:
            msg = (
                f"A record has more than {_MAX_CELL_CHARS:,} characters in {column.path}, more than a"
                " cell of a workbook takes. Export CSV, or leave this column out."
            )
            raise FailedPrecondition(msg, reason="CELL_TOO_LONG")


async def make(home: Home, run: runs.Run, columns: Sequence[Column]) -> tuple[int, int]:
    """Makes the workbook from the draft; answers its number of pieces and of bytes."""
    kinds = json.dumps([column.kind for column in columns])
    zone, created = home.rights.organization.zone, run.row["create_time"].isoformat()
    draft = runs.file(home.database, run, draft=True)
    count, size, rest = 0, 0, bytearray()
    try:
        arguments = [kinds, str(zone), created]
        async with aclosing(output_of("xlsx_file", arguments, draft, lines=False)) as pieces:
            async for piece in pieces:
                size += len(piece)
                rest += piece
                while len(rest) >= CHUNK_BYTES:
                    await runs.put(home.database, run, count, bytes(rest[:CHUNK_BYTES]))
                    del rest[:CHUNK_BYTES]
                    count += 1
    except TooCostlyError:
        msg = "The workbook takes too much time or memory. Export CSV, or filter."
        raise FailedPrecondition(msg, reason="FILE_TOO_COSTLY") from None
    await runs.put(home.database, run, count, bytes(rest))
    return count + 1, size
