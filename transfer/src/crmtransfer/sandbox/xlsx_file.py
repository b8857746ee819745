"""Reads an export as CSV from standard input and writes it as a workbook (XLSX) to standard output.

Arguments: the kinds of the columns as JSON, the time zone that times are shown in, and when the export was
asked for. Rows go to a temporary file as they come: the memory it takes does not grow with them.
"""

import csv
import io
import json
import shutil
import sys
from datetime import date, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from zoneinfo import ZoneInfo

from crmtransfer.formulas import bare, in_a_typed_cell
from crmtransfer.sandbox.limits import limit

_CPU_SECONDS = 300
_MEMORY_BYTES = 1024 * 1024 * 1024
_FILE_BYTES = 1024 * 1024 * 1024
_DIGITS = 15  # as many as a spreadsheet keeps of a number
_FIRST_YEAR = 1900
_FORMATS = {"date": "yyyy-mm-dd", "time": "yyyy-mm-dd hh:mm:ss"}


def main() -> None:
    """The program."""
    limit(cpu_seconds=_CPU_SECONDS, memory_bytes=_MEMORY_BYTES, file_bytes=_FILE_BYTES)
    from xlsxwriter import Workbook  # noqa: PLC0415 - limited by then

    kinds: list[str] = json.loads(sys.argv[1])
    zone, created = ZoneInfo(sys.argv[2]), datetime.fromisoformat(sys.argv[3])
    out = io.BytesIO()
    workbook = Workbook(out, {"constant_memory": True})
    workbook.set_properties({"created": created.replace(tzinfo=None)})
    formats = {kind: workbook.add_format({"num_format": f}) for kind, f in _FORMATS.items()}
    sheet = workbook.add_worksheet()
    sheet.freeze_panes(1, 0)
    csv.field_size_limit(sys.maxsize)
    lines = csv.reader(io.TextIOWrapper(sys.stdin.buffer, "utf-8", newline=""), strict=True)
    for column, name in enumerate(next(lines, [])):
        sheet.write_string(0, column, name)
    for number, cells in enumerate(lines, start=1):
        for column, (kind, text) in enumerate(zip(kinds, cells, strict=True)):
            if text:
                value = value_of(kind, text, zone)
                _write(sheet, number, column, value, formats.get(kind))
    workbook.close()
    out.seek(0)
    shutil.copyfileobj(out, sys.stdout.buffer)
    sys.stdout.buffer.flush()


def value_of(kind: str, text: str, zone: ZoneInfo) -> Any:
    """The value that a cell of this kind shows; text where a spreadsheet has nothing as exact."""
    if kind == "boolean":
        return text == "true"
    if kind == "number":
        return _number(text)
    if kind == "date":
        day = date.fromisoformat(text)
        return day if day.year > _FIRST_YEAR else text
    if kind == "time":
        time = datetime.fromisoformat(text).astimezone(zone).replace(tzinfo=None)
        return time if time.year > _FIRST_YEAR else text
    return in_a_typed_cell(bare(text))


def _number(text: str) -> Any:
    try:
        value = Decimal(text)
    except InvalidOperation:
        return text
    return float(value) if len(value.as_tuple().digits) <= _DIGITS else text


def _write(sheet: Any, row: int, column: int, value: Any, shape: Any) -> None:
    """Writes a typed cell: text is never looked at for formulas, numbers or addresses."""
    if isinstance(value, bool):
        sheet.write_boolean(row, column, value)
    elif isinstance(value, float):
        sheet.write_number(row, column, value)
    elif isinstance(value, date):
        sheet.write_datetime(row, column, value, shape)
    else:
        sheet.write_string(row, column, value)


if __name__ == "__main__":
    main()
