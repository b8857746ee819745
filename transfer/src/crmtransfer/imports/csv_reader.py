"""From the bytes of a CSV file, in chunks, to rows of text.

Never holds more than one chunk and one record. A row that cannot be read is a row with a problem; a
file that cannot be read at all raises.
"""

import codecs
import csv
import io
import re
from collections import deque
from collections.abc import Iterator

from crmkit.errors import InvalidArgument
from crmtransfer.imports.encodings import guess
from crmtransfer.imports.rows import (
    MAX_RECORD_CHARS,
    FileRow,
    checked_row,
    header_of,
    unreadable,
)

_DELIMITERS = ",;\t|"
_BOMS = (
    (codecs.BOM_UTF32_LE, ""),  # starts like UTF-16's
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_LONGEST_BOM = 4
_SAID_DELIMITER = re.compile(r"sep=([,;\t|])\r?\n?")  # as spreadsheets write it
_OPEN_AT_END = "unexpected end of data"  # as the csv module says it
_GUESS_BYTES = 8192
_SHOWN_CHARS = 40
_WORD_BEFORE, _WORD_AFTER = re.compile(r"\w*\Z"), re.compile(r"\A\w*")
_ZIP = b"PK\x03\x04"
# The module's own limit is the whole process's and names no row: ours must speak first.
csv.field_size_limit(2 * MAX_RECORD_CHARS)


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
    """Reads a file that is fed in chunks: UTF-8, UTF-16 with a byte order mark, or what is said.

    The delimiter (comma, semicolon, tab or bar) is the one that divides the header most, or what a
    first line `sep=;` says. Blank lines are left out.

    Args:
        encoding: Where there is no byte order mark; UTF-8 if empty.
    """

    def __init__(self, encoding: str = "") -> None:
        self.header: list[str] = []
        self.encoding = encoding or "utf-8"
        self._start = b""
        self._decoder: codecs.IncrementalDecoder | None = None
        self._tail = ""
        self._lines = _Lines()
        self._line_number = 1
        self._lines_split = 0
        self._delimiter = ""
        self._records: Iterator[list[str]] | None = None

    def feed(self, data: bytes) -> Iterator[FileRow]:
        """The rows that are complete with this chunk.

        Raises:
            InvalidArgument: The file is not CSV, its encoding is unknown, or its header is wrong.
        """
        self._split(self._decode(data, final=False), final=False)
        return self._rows()

    def finish(self) -> Iterator[FileRow]:
        """The last rows; raises InvalidArgument as `feed`, also where the file is empty."""
        self._split(self._decode(b"", final=True), final=True)
        self._lines.at_end = True
        return self._last_rows()

    def _last_rows(self) -> Iterator[FileRow]:
        yield from self._rows()
        if not self.header:
            raise unreadable(
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
            raise self._wrong_encoding(error) from error

    def _wrong_encoding(self, error: UnicodeDecodeError) -> InvalidArgument:
        line = self._lines_split + error.object.count(b"\n", 0, error.start) + 1
        msg = f"Line {line} is not {self.encoding.upper()}."
        around = error.object[max(0, error.start - _GUESS_BYTES) : error.start + _GUESS_BYTES]
        likely = "" if self.encoding != "utf-8" else guess(around)
        if likely:
            word = _word_at(around, min(error.start, _GUESS_BYTES), likely)
            msg += (
                f" It may be {likely}, then it has {word!r}: name the encoding, or save as UTF-8."
            )
        else:
            msg += " Save the file as UTF-8, or name its encoding."
        return unreadable(reason="UNKNOWN_ENCODING", message=msg)

    def _open(self) -> bytes:
        data, self._start = self._start, b""
        if data.startswith(_ZIP):
            msg = "The file is not CSV: save the sheet as CSV (UTF-8) first."
            raise unreadable(reason="NOT_CSV", message=msg)
        bom, encoding = next((b for b in _BOMS if data.startswith(b[0])), (b"", self.encoding))
        if not encoding:
            raise unreadable(
                reason="UNKNOWN_ENCODING", message="The file is UTF-32; save it as UTF-8."
            )
        self.encoding = encoding
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
        self._lines_split += len(lines)

    def _too_long(self) -> InvalidArgument:
        msg = (
            f"Line {self._line_number}: the row is longer than {MAX_RECORD_CHARS:,} characters;"
            " is a closing quote missing?"
        )
        return unreadable(reason="ROW_TOO_LONG", message=msg)

    # -- lines to rows

    def _rows(self) -> Iterator[FileRow]:
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
                self._refuse_open_quote(number, error)
                cells, problem = [], f"The row is not CSV: {error}."
            self._line_number += len(lines.taken)
            if not self.header and not cells and not problem:
                self._records = None  # a blank line says nothing of the delimiter
            elif not self.header:
                self._set_header(cells, problem)
            elif problem:
                yield FileRow(number, ["".join(lines.taken).rstrip("\r\n")], problem)
            elif cells:
                yield checked_row(number, cells, self.header)

    def _set_header(self, cells: list[str], problem: str) -> None:
        if problem:
            raise unreadable(reason="BAD_HEADER", message=problem)
        self.header = header_of(cells)

    def _refuse_open_quote(self, number: int, error: csv.Error) -> None:
        """A quote that is never closed has taken all lines to the end: they are not one bad row."""
        if str(error) == _OPEN_AT_END and len(self._lines.taken) > 1:
            msg = (
                f"Line {number}: a quote is opened here and not closed down to the end of the file."
            )
            raise unreadable(reason="UNCLOSED_QUOTE", message=msg) from error

    def _record(self) -> list[str]:
        if self._records is None:
            first = self._lines.waiting[0]
            said = _SAID_DELIMITER.fullmatch(first)
            if said is not None and not self._delimiter:
                self._delimiter = said[1]
                self._lines.taken.append(self._lines.waiting.popleft())
                return []
            delimiter = self._delimiter or _delimiter(first)
            self._records = csv.reader(self._lines, delimiter=delimiter, strict=True)
        return next(self._records, [])


def _word_at(data: bytes, position: int, encoding: str) -> str:
    """The word around a byte, as it reads in an encoding."""
    before = data[:position].decode(encoding, "ignore")
    after = data[position:].decode(encoding, "ignore")
    word: str = _WORD_BEFORE.findall(before)[0] + _WORD_AFTER.findall(after)[0]
    return word[:_SHOWN_CHARS]


def _delimiter(line: str) -> str:
    def columns(delimiter: str) -> int:
        return len(next(csv.reader([line], delimiter=delimiter), []))

    return max(_DELIMITERS, key=columns)
