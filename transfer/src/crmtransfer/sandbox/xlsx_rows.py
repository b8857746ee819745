"""Reads a workbook (XLSX) from standard input and says its rows; macros are never looked at.

Arguments: `check`, which only says whether the workbook is safe to read, or `read` and the name of the
sheet, empty for the first.
"""

import io
import sys
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from crmtransfer.sandbox.answers import Refused, answering, say, say_row
from crmtransfer.sandbox.limits import limit
from crmtransfer.sandbox.workbook import MAX_BYTES, checked, refuse_formulas, sheet_to_read

MAX_ROWS = 100_000
_CPU_SECONDS = 60
_MEMORY_BYTES = 1536 * 1024 * 1024
_MIDNIGHT = time()


def main() -> None:
    """The program."""
    limit(cpu_seconds=_CPU_SECONDS, memory_bytes=_MEMORY_BYTES)
    what, *names = sys.argv[1:]
    with answering():
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
        with checked(data) as archive:
            sheet, part = sheet_to_read(archive, names[0] if names else "")
            if what == "read":
                refuse_formulas(archive, part)
        if what == "read":
            say_rows(data, sheet)


def say_rows(data: bytes, sheet: str) -> None:
    """Says the header, which is the first row that is not empty, and the rows below it."""
    rows = _rows(data, sheet)
    first = next(rows, None)
    if first is None:
        raise Refused(
            reason="EMPTY_FILE", message=f"The sheet {sheet!r} is empty; it needs a header row."
        )
    header = first[1]
    while header and not header[-1].strip():
        header.pop()
    say(header)
    for count, (number, cells) in enumerate(rows, start=1):
        if count > MAX_ROWS:
            msg = f"The sheet has more than {MAX_ROWS:,} rows; save it as CSV."
            raise Refused(reason="TOO_MANY_ROWS", message=msg)
        say_row(number, cells)


def _rows(data: bytes, name: str) -> Iterator[tuple[int, list[str]]]:
    """Number and cells of the rows that are not empty."""
    from python_calamine import CalamineError, CalamineWorkbook  # noqa: PLC0415 - limited by then

    try:
        sheet = CalamineWorkbook.from_filelike(io.BytesIO(data)).get_sheet_by_name(name)
        start = sheet.start
        rows = sheet.iter_rows()
        for number, row in enumerate(rows, start=start[0] + 1 if start else 1):
            cells = [text_of(value) for value in row]
            if any(cells):
                yield number, cells
    except CalamineError as error:
        msg = f"The workbook cannot be read: {str(error)[:200]}"
        raise Refused(reason="UNREADABLE_WORKBOOK", message=msg) from error


def text_of(value: Any) -> str:
    """A cell as an import reads it: as the person sees it in the sheet, whatever its number format."""
    read = next((read for kind, read in _READERS if isinstance(value, kind)), str)
    return read(value)


def _number(value: float) -> str:
    # Spreadsheets show and keep 15 digits.
    return f"{Decimal(f'{value:.15g}'):f}"


def _time(value: datetime) -> str:
    return str(value.date()) if value.time() == _MIDNIGHT else value.isoformat()


def _length(value: timedelta) -> str:
    minutes, seconds = divmod(round(value.total_seconds()), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"


# The first that fits: a truth value is a number to Python, a time a date.
_READERS: tuple[tuple[type, Callable[[Any], str]], ...] = (
    (str, str),
    (bool, lambda value: "true" if value else "false"),
    (float, _number),
    (datetime, _time),
    (timedelta, _length),
    (date, str),
    (time, str),
)


if __name__ == "__main__":
    main()
