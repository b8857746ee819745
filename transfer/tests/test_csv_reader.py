"""Reading CSV files: whatever people's spreadsheets write, in whatever pieces it arrives."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from crmkit.errors import InvalidArgument
from crmtransfer.imports.csv_reader import CsvReader
from crmtransfer.imports.rows import FileRow


def read(
    content: bytes, piece: int = 1 << 20, encoding: str = ""
) -> tuple[list[str], list[FileRow]]:
    reader, rows = CsvReader(encoding), []
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
    reasons = {"EMPTY_FILE", "UNKNOWN_ENCODING", "NOT_CSV", "BAD_HEADER", "UNCLOSED_QUOTE"}
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
    # What could be read is there all the same: it goes into the file of rejected rows.
    assert [row.cells for row in rows] == [
        ["1", "x\ny"], ["2"], ["3", "\x00"], ['4,"q"q'], ["5", "z"],
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


@pytest.mark.parametrize(
    ("encoding", "word"),
    [
        ("gb18030", "上海浦东发展银行股份有限公司"),
        ("windows-1252", "Müller"),
        ("big5", "臺灣"),
        ("utf-16-le", "x"),
    ],
)
def test_a_file_in_another_encoding_is_read_if_it_is_named(encoding: str, word: str) -> None:
    """INVARIANT: what is said is what is read, in whatever pieces it arrives."""
    content = f"name,city\n{word},1\n".encode(encoding)
    for piece in (1, 7, 1 << 20):
        header, rows = read(content, piece, encoding)
        assert header == ["name", "city"]
        assert [row.cells for row in rows] == [[word, "1"]]


def test_a_byte_order_mark_says_more_than_a_person() -> None:
    """INVARIANT: a file that says what it is is read as that."""
    assert read("a,b\nä,1\n".encode("utf-8-sig"), encoding="windows-1252")[1][0].cells[0] == "ä"


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (
            "公司名称,城市\n"
            + "上海浦东发展银行股份有限公司,上海市\n北京字节跳动科技有限公司,北京市\n" * 5,
            "gb18030",
        ),
        (
            "Firma,Ort\n" + "Bäckerei Müller & Söhne GmbH,Köln\nGroße Straße Café,Düsseldorf\n" * 5,
            "windows-1252",
        ),
    ],
)
def test_a_file_in_another_encoding_is_refused_with_its_line_and_a_hint(
    text: str, encoding: str
) -> None:
    """INVARIANT: nothing is guessed silently; the person gets a line, and a word to judge the guess by."""
    content = f"x,y\n{text}".encode(encoding)
    with pytest.raises(InvalidArgument) as caught:
        read(content)
    assert caught.value.reason == "UNKNOWN_ENCODING"
    line = next(
        n for n, row in enumerate(f"x,y\n{text}".splitlines(), start=1) if not row.isascii()
    )
    assert f"Line {line} " in caught.value.message
    hinted = caught.value.message.partition("may be ")[2].partition(",")[0]
    word = text.splitlines()[line - 2].split(",")[0].split()[0]
    assert word.encode(encoding).decode(hinted) == word, caught.value.message
    assert word in caught.value.message


def test_a_quote_open_to_the_end_does_not_hide_the_rows_behind_it() -> None:
    """INVARIANT: a thousand rows taken up by one open quote are not counted as one bad row."""
    with pytest.raises(InvalidArgument) as caught:
        read(b'a,b\n1,x\n2,"y\n' + b"3,z\n" * 1000)
    assert caught.value.reason == "UNCLOSED_QUOTE"
    assert "Line 3" in caught.value.message
    _, rows = read(b'a,b\n1,x\n2,"y')  # only itself is lost
    assert [bool(row.problem) for row in rows] == [False, True]


def test_what_spreadsheets_add_is_no_trouble() -> None:
    """INVARIANT: a first line that says the delimiter, and empty cells behind the last column, are read."""
    header, rows = read(b"sep=;\r\na,b;c\r\n1,5;x;;\r\n2;y;z\r\n")
    assert header == ["a,b", "c"]
    assert [(row.number, row.cells) for row in rows if not row.problem] == [(3, ["1,5", "x"])]
    assert rows[1].problem == "The row has 3 cells; the header has 2."
