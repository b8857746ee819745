"""From the bytes of a CSV file, in chunks, to rows of text.

Never holds more than one chunk and one record. A row that cannot be read is a row with a problem; a
file that cannot be read at all raises.
"""

import codecs
import csv
import io
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from crmkit.errors import InvalidArgument

MAX_CELL_CHARS = 1_000_000
MAX_RECORD_CHARS = 16_000_000
MAX_COLUMNS = 2_000
_DELIMITERS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF32_LE, ""),  # starts like UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_BOM = 4
_ZIP = b"PK\x03\x04"
# The module's own limit is the whole process's and names no row: ours must speak first.
csv.field_size_limit(2 * MAX_RECORD_CHARS)


@dataclass(frozen=True, slots=True)
class CsvRow:
    """One data row.

    Attributes:
        number: The line of the file on which it starts, the header being line 1.
        cells: As many as the header has; empty if there is a problem.
        problem: Why it cannot be read; empty if it can.
    """

    number: int
    cells: list[str]
    problem: str = ""


class _NeedMore(Exception):  # noqa: N818 - not an error: the record goes on in the next chunk
    pass


class _Lines:
    """The lines that wait to be read, and those that the record at hand has taken."""

    def __init__(self) -> None:
        self.waiting: deque[str] = deque()
        self.taken: list[str] = []
        self.at_end = False

    def __iter__(self) -> "_Lines":
        return self

    def __next__(self) -> str:
        if not self.waiting:
            raise StopIteration if self.at_end else _NeedMore
        line = self.waiting.popleft()
        self.taken.append(line)
        return line

    def put_back(self) -> None:
        """Gives back what an unfinished record has taken."""
        self.waiting.extendleft(reversed(self.taken))
        self.taken = []


class CsvReader:
    """Reads a file that is fed in chunks: UTF-8, or UTF-16 with a byte order mark.

    The delimiter (comma, semicolon, tab or bar) is the one that divides the header most. Blank
    lines are left out.
    """

    def __init__(self) -> None:
        self.header: list[str] = []
        self._start = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._tail = ""
        self._lines = _Lines()
        self._line_number = 1
        self._records: Iterator[list[str]] | None = None

    def feed(self, data: bytes) -> Iterator[CsvRow]:
        """The rows that are complete with this chunk.

        Raises:
            InvalidArgument: The file is not CSV, its encoding is unknown, or its header is wrong.
        """
        self._split(self._decode(data, final=False), final=False)
        return self._rows()

    def finish(self) -> Iterator[CsvRow]:
        """The last rows; raises InvalidArgument as `feed`, also where the file is empty."""
        self._split(self._decode(b"", final=True), final=True)
        self._lines.at_end = True
        return self._last_rows()

    def _last_rows(self) -> Iterator[CsvRow]:
        yield from self._rows()
        if not self.header:
            raise _unreadable(
                reason="EMPTY_FILE", message="The file is empty; it needs a header row."
            )

    # -- bytes to lines

    def _decode(self, data: bytes, *, final: bool) -> str:
        if self._decoder is None:
            self._start += data
            if len(self._start) < _LONGEST_BOM and not final:
                return ""
            data = self._open()
        assert self._decoder is not None
        try:
            return self._decoder.decode(data, final)
        except UnicodeDecodeError as error:
            msg = "The file must be UTF-8, or UTF-16 with a byte order mark; it is neither."
            raise _unreadable(reason="UNKNOWN_ENCODING", message=msg) from error

    def _open(self) -> bytes:
        data, self._start = self._start, b""
        if data.startswith(_ZIP):
            raise _unreadable(
                reason="NOT_CSV",
                message="The file is not CSV: save the sheet as CSV (UTF-8) first.",
            )
        bom, encoding = next((b for b in _BOMS if data.startswith(b[0])), (b"", "utf-8"))
        if not encoding:
            raise _unreadable(
                reason="UNKNOWN_ENCODING", message="The file is UTF-32; save it as UTF-8."
            )
        self._decoder = codecs.getincrementaldecoder(encoding)(errors="strict")
        return data[len(bom) :]

    def _split(self, text: str, *, final: bool) -> None:
        lines = list(io.StringIO(self._tail + text, newline=""))
        self._tail = ""
        # A line may go on in the next chunk; so may a line end, "\r" being followed by "\n".
        if lines and not final and not lines[-1].endswith("\n"):
            self._tail = lines.pop()
        if len(self._tail) > MAX_RECORD_CHARS:
            raise self._too_long()
        self._lines.waiting.extend(lines)

    def _too_long(self) -> InvalidArgument:
        msg = (
            f"Line {self._line_number}: the row is longer than {MAX_RECORD_CHARS:,} characters;"
            " is a closing quote missing?"
        )
        return _unreadable(reason="ROW_TOO_LONG", message=msg)

    # -- lines to rows

    def _rows(self) -> Iterator[CsvRow]:
        lines = self._lines
        while lines.waiting:
            number = self._line_number
            lines.taken = []
            try:
                cells, problem = self._record(), ""
            except _NeedMore:
                if sum(map(len, lines.taken)) > MAX_RECORD_CHARS:
                    raise self._too_long() from None
                lines.put_back()
                return
            except csv.Error as error:
                cells, problem = [], f"The row is not CSV: {error}."
            self._line_number += len(lines.taken)
            if not self.header and not cells and not problem:
                self._records = None  # a blank line says nothing of the delimiter
            elif not self.header:
                self._set_header(cells, problem)
            elif cells or problem:
                problem = problem or self._problem(cells, lines.taken)
                yield CsvRow(number, [] if problem else cells, problem)

    def _record(self) -> list[str]:
        if self._records is None:
            delimiter = _delimiter(self._lines.waiting[0])
            self._records = csv.reader(self._lines, delimiter=delimiter, strict=True)
        return next(self._records, [])

    def _problem(self, cells: list[str], lines: list[str]) -> str:
        if len(cells) != len(self.header):
            return f"The row has {len(cells)} cells; the header has {len(self.header)}."
        if sum(map(len, lines)) <= MAX_CELL_CHARS and not any("\x00" in line for line in lines):
            return ""
        for name, cell in zip(self.header, cells, strict=True):
            if len(cell) > MAX_CELL_CHARS:
                return f"The cell in {name!r} is longer than {MAX_CELL_CHARS:,} characters."
            if "\x00" in cell:
                return f"The cell in {name!r} contains a NUL character."
        return ""

    def _set_header(self, cells: list[str], problem: str) -> None:
        header = [cell.strip() for cell in cells]
        named = [name for name in header if name]
        twice = sorted({name for name in named if named.count(name) > 1})
        if problem or not named:
            raise _unreadable(
                reason="BAD_HEADER", message=problem or "The first row must name the columns."
            )
        if any("\x00" in name for name in named):
            msg = "The header contains NUL characters: UTF-16 needs a byte order mark."
            raise _unreadable(reason="UNKNOWN_ENCODING", message=msg)
        if twice:
            msg = f"The header names {', '.join(map(repr, twice[:10]))} more than once."
            raise _unreadable(reason="BAD_HEADER", message=msg)
        if len(header) > MAX_COLUMNS:
            raise _unreadable(
                reason="BAD_HEADER", message=f"The file has more than {MAX_COLUMNS:,} columns."
            )
        self.header = header


def _delimiter(line: str) -> str:
    def columns(delimiter: str) -> int:
        return len(next(csv.reader([line], delimiter=delimiter), []))

    return max(_DELIMITERS, key=columns)


def _unreadable(*, reason: str, message: str) -> InvalidArgument:
    return InvalidArgument(message, reason=reason, field="import.upload")
