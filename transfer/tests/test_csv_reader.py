"""Reading CSV files: whatever people's spreadsheets write, in whatever pieces it arrives."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.errors import InvalidArgument
from crmtransfer.imports.csv_reader import CsvReader, CsvRow


def read(content: bytes, piece: int = 1 << 20) -> tuple[list[str], list[CsvRow]]:
    reader, rows = CsvReader(), []
    for start in range(0, len(content), piece):
        rows += reader.feed(content[start : start + piece])
    rows += reader.finish()
    return reader.header, rows


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
def test_every_usual_dialect_is_read(encoding: str, delimiter: str, ending: str) -> None:
    """INVARIANT: encoding, delimiter and line ends are found out, not asked for."""
    lines = [delimiter.join(["名称", "city"]), delimiter.join(["Zoë", '"Köln\n2"']), ""]
    header, rows = read(ending.join(lines).encode(encoding))
    assert header == ["名称", "city"]
    assert [row.cells for row in rows] == [["Zoë", "Köln\n2"]]


_text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=8)


@given(
    table=st.lists(st.lists(_text, min_size=2, max_size=2), min_size=1, max_size=6),
    piece=st.integers(1, 7),
)
def test_what_was_written_is_read_however_it_is_cut(table: list[list[str]], piece: int) -> None:
    """INVARIANT: chunk borders fall anywhere, also within a character, a line end or a cell."""
    out = io.StringIO(newline="")
    writer = csv.writer(out, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b"])
    writer.writerows(table)
    _, rows = read(out.getvalue().encode(), piece)
    assert [row.cells for row in rows] == table
    assert not any(row.problem for row in rows)


@given(content=st.binary(max_size=200), piece=st.integers(1, 50))
def test_any_bytes_are_rows_or_a_failure_with_a_reason(content: bytes, piece: int) -> None:
    """INVARIANT: no file, however broken, is an error of ours."""
    reasons = {"EMPTY_FILE", "UNKNOWN_ENCODING", "NOT_CSV", "BAD_HEADER"}
    try:
        header, rows = read(content, piece)
    except InvalidArgument as error:
        reason = error.reason
    else:
        assert all(row.problem or len(row.cells) == len(header) for row in rows)
        return
    assert reason in reasons


def test_a_bad_row_is_named_by_its_line_and_the_others_are_read() -> None:
    """INVARIANT: one bad row costs one row; numbers are lines of the file."""
    content = b'a,b\n1,"x\ny"\n\n2\n3,\x00\n4,"q"q\n5,z\n'
    _, rows = read(content)
    assert [(row.number, bool(row.problem)) for row in rows] == [
        (2, False), (5, True), (6, True), (7, True), (8, False),
    ]  # fmt: skip


def test_a_cell_of_ten_megabytes_fails_its_row_alone() -> None:
    """INVARIANT: a cell is at most 1,000,000 characters, over however many lines and chunks."""
    cell = b"line\n" * 2_000_000
    _, rows = read(b'a,b\n1,"' + cell + b'"\n2,x\n')
    assert [bool(row.problem) for row in rows] == [True, False]
    assert "'b'" in rows[0].problem


def test_a_quote_that_never_closes_ends_the_file_with_its_line() -> None:
    """INVARIANT: no file makes us hold more than one record's limit."""
    with pytest.raises(InvalidArgument) as caught:
        read(b'a,b\n1,"' + b"line\n" * 4_000_000)
    assert caught.value.reason == "ROW_TOO_LONG"
    assert "Line 2" in caught.value.message


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "EMPTY_FILE"),
        (b"\n\n", "EMPTY_FILE"),
        (b"a,a\n", "BAD_HEADER"),
        (b",\n", "BAD_HEADER"),
        ("a,b\n".encode("utf-16-le"), "UNKNOWN_ENCODING"),
        ("a,b\n".encode("utf-32"), "UNKNOWN_ENCODING"),
        ("ä,b\n".encode("latin-1"), "UNKNOWN_ENCODING"),
        (b"PK\x03\x04", "NOT_CSV"),
    ],
)
def test_a_file_that_is_no_table_says_why(content: bytes, reason: str) -> None:
    """INVARIANT: the reason tells what to do."""
    with pytest.raises(InvalidArgument) as caught:
        read(content)
    assert caught.value.reason == reason
