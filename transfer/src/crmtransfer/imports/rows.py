"""Rows of a file as text, whatever the file's format; and what a table must be like to be imported."""

from collections.abc import Sequence
from dataclasses import dataclass

from crmkit.errors import InvalidArgument

MAX_CELL_CHARS = 1_000_000
MAX_RECORD_CHARS = 16_000_000
MAX_COLUMNS = 2_000


@dataclass(frozen=True, slots=True)
class FileRow:
    """One data row.

    Attributes:
        number: Where it stands in the file, as its reader counts: the line on which it starts.
        cells: As many as the header has; where there is a problem, whatever could be read.
        problem: Why it cannot be imported; empty if it can.
    """

    number: int
    cells: list[str]
    problem: str = ""


def header_of(cells: Sequence[str]) -> list[str]:
    """The columns' names; raises InvalidArgument where they do not name columns."""
    header = [cell.strip() for cell in cells]
    named = [name for name in header if name]
    twice = sorted({name for name in named if named.count(name) > 1})
    if not named:
        raise unreadable(reason="BAD_HEADER", message="The first row must name the columns.")
    if any("\x00" in name for name in named):
        msg = "The header contains NUL characters: UTF-16 needs a byte order mark."
        raise unreadable(reason="UNKNOWN_ENCODING", message=msg)
    if twice:
        msg = f"The header names {', '.join(map(repr, twice[:10]))} more than once."
        raise unreadable(reason="BAD_HEADER", message=msg)
    if len(header) > MAX_COLUMNS:
        raise unreadable(
            reason="BAD_HEADER", message=f"The file has more than {MAX_COLUMNS:,} columns."
        )
    return header


def checked_row(number: int, cells: list[str], header: Sequence[str]) -> FileRow:
    """A row held to the header; empty cells behind its last column are dropped."""
    width = len(header)
    if len(cells) > width and not any(cells[width:]):
        cells = cells[:width]
    if len(cells) != width:
        problem = f"The row has {len(cells)} cells; the header has {width}."
        return FileRow(number, cells, problem)
    text = "".join(cells)
    if len(text) <= MAX_CELL_CHARS and "\x00" not in text:
        return FileRow(number, cells)
    for name, cell in zip(header, cells, strict=True):
        if len(cell) > MAX_CELL_CHARS:
            problem = f"The cell in {name!r} is longer than {MAX_CELL_CHARS:,} characters."
            return FileRow(number, cells, problem)
        if "\x00" in cell:
            return FileRow(number, cells, f"The cell in {name!r} contains a NUL character.")
    return FileRow(number, cells)


def unreadable(*, reason: str, message: str) -> InvalidArgument:
    """The failure of a whole file."""
    return InvalidArgument(message, reason=reason, field="import.upload")
