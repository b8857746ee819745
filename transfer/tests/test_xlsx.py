"""Reading workbooks: what people's spreadsheets hold, and what is made to harm whoever reads it."""

import asyncio
import struct
import time
from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import date, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from crmkit.errors import InvalidArgument
from crmtransfer.sandbox.workbook import MAX_BYTES
from crmtransfer.sandboxed import answers_of

from .workbooks import parts, sheet, text_cell, workbook, zipped

_NOON = datetime(2017, 3, 1, 12, 0)  # noqa: DTZ001 - a cell knows no time zone
_NAME = text_cell("A1", "name")


async def read(content: bytes, *arguments: str) -> list[Any]:
    async def pieces() -> AsyncIterator[bytes]:
        for start in range(0, len(content), 1 << 20):
            yield content[start : start + (1 << 20)]

    found = []
    async with aclosing(answers_of("xlsx_rows", arguments or ("read", ""), pieces())) as answers:
        async for answer in answers:
            found.append(answer if isinstance(answer[0], str) else answer[:2])  # noqa: PERF401 - what was said before a failure does not count
    return found


async def refusal(content: bytes, *arguments: str) -> InvalidArgument:
    with pytest.raises(InvalidArgument) as caught:
        await read(content, *arguments)
    return caught.value


async def test_cells_are_read_as_the_person_sees_them() -> None:
    """INVARIANT: text, numbers, dates, times and truth values become what an import reads them as."""
    table = [
        ["name", "价格", "from", "at", "sure", ""],
        ["Zoë 'x", 0.1 + 0.2, date(2017, 3, 1), _NOON, True, ""],
        ["", "", "", "", "", ""],
        ["12", 17850.0, "", "", False, ""],
        ["big", 1e15, "", "", "", ""],
        ["small", 1e-7, "", "", "", ""],
    ]
    assert await read(workbook(table)) == [
        ["name", "价格", "from", "at", "sure"],
        [2, ["Zoë 'x", "0.3", "2017-03-01", "2017-03-01T12:00:00", "true"]],
        [4, ["12", "17850", "", "", "false"]],
        [5, ["big", "1000000000000000", "", "", ""]],
        [6, ["small", "0.0000001", "", "", ""]],
    ]


async def test_the_sheet_that_was_asked_for_is_read() -> None:
    """INVARIANT: the first sheet if none is named; a name that is not there is answered by those that are."""
    content = workbook([["a"], ["1"]], Data=[["b"], ["2"]])
    assert await read(content) == [["a"], [2, ["1"]]]
    assert await read(content, "read", "Data") == [["b"], [2, ["2"]]]
    refused = await refusal(content, "read", "Nope")
    assert refused.reason == "SHEET_NOT_FOUND"
    assert "Sheet1, Data" in refused.message


def _with_entity(declaration: str) -> bytes:
    body = sheet(_NAME, text_cell("A2", "&x;"))
    return zipped(parts(f"<?xml version='1.0'?><!DOCTYPE w [{declaration}]>{body}"))


_LAUGHS = '<!ENTITY l0 "ha">' + "".join(
    f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10)
)
_BOMB = sheet(_NAME, text_cell("A2", "x" * 60_000_000))
_MANY = {f"p{n}": b"" for n in range(100_000)}


def _lying() -> bytes:
    """An archive that says that it has one entry and that it is small."""
    content = bytearray(zipped({**parts(_BOMB), "xl/media/a": b"0" * 250_000_000}))
    at = 0
    while (at := content.find(b"PK\x01\x02", at)) >= 0:
        struct.pack_into("<L", content, at + 24, 100)
        at += 4
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"PK\x03\x04rest", "UNREADABLE_WORKBOOK"),
        (zipped({"word/document.xml": "<x/>"}), "UNREADABLE_WORKBOOK"),
        (zipped({**parts(sheet(_NAME)), "xl/workbook.xml": "<workbook"}), "UNREADABLE_WORKBOOK"),
        (workbook([["a"], ["1"]])[:-40], "UNREADABLE_WORKBOOK"),
        (b"PK\x03\x04" + b"\0" * MAX_BYTES, "WORKBOOK_TOO_LARGE"),
        (zipped(parts(_BOMB)), "WORKBOOK_TOO_LARGE"),
        (_lying(), "UNREADABLE_WORKBOOK"),
        (zipped({**parts(sheet(_NAME)), **_MANY}), "UNSAFE_WORKBOOK"),
        (_with_entity('<!ENTITY x SYSTEM "file:///etc/passwd">'), "UNSAFE_WORKBOOK"),
        (_with_entity(_LAUGHS + '<!ENTITY x "&l9;">'), "UNSAFE_WORKBOOK"),
        (
            zipped({**parts(sheet(_NAME)), "xl/externalLinks/externalLink1.xml": "<x/>"}),
            "UNSAFE_WORKBOOK",
        ),
    ],
    ids=[
        "no archive", "no workbook", "broken part", "cut off", "too large", "bomb", "lying bomb",
        "100,000 entries", "external entity", "billion laughs", "external link",
    ],
)  # fmt: skip
async def test_what_would_harm_its_reader_is_refused_at_once(content: bytes, reason: str) -> None:
    """INVARIANT: guarantees 47 and 48: a clear reason, quickly, from the check as from the reading."""
    for arguments in (("check",), ("read", "")):
        begun = time.monotonic()
        assert (await refusal(content, *arguments)).reason == reason
        assert time.monotonic() - begun < 5  # one second on a machine with nothing else to do


async def test_a_formula_is_named_and_refused() -> None:
    """INVARIANT: a result that may be old or absent is not taken for a value."""
    content = zipped(
        parts(
            sheet(_NAME, text_cell("A2", "x"), '<c r="A3" t="str"><f>A2&amp;"y"</f><v>xy</v></c>')
        )
    )
    refused = await refusal(content)
    assert refused.reason == "FORMULA_CELL"
    assert "A3" in refused.message
    assert await read(content, "check") == []  # a sheet that is not imported may have them


async def test_a_cell_at_the_far_end_of_the_sheet_does_not_take_the_memory_of_all_between() -> None:
    """INVARIANT: the worst sheet costs its reader, never the service."""
    content = zipped(parts(sheet(_NAME, text_cell("XFD1048576", "far"))))
    assert (await refusal(content)).reason in {"FILE_TOO_COSTLY", "TOO_MANY_ROWS"}


async def test_more_rows_than_a_sheet_may_have_are_refused() -> None:
    """INVARIANT: 100,000 rows are read, one more is not."""
    rows = [["name"], *[[f"n{n}"] for n in range(100_000)]]
    assert len(await read(workbook(rows))) == 100_001
    assert (await refusal(workbook([*rows, ["more"]]))).reason == "TOO_MANY_ROWS"


_SOUND = workbook([["name", "n"], ["x", 1], ["y", 2.5]])


@settings(max_examples=15, deadline=None)
@given(
    damage=st.lists(
        st.tuples(st.integers(0, len(_SOUND) - 100), st.integers(0, 255)), min_size=1, max_size=20
    )
)
def test_any_damage_is_rows_or_a_failure_with_a_reason(damage: list[tuple[int, int]]) -> None:
    """INVARIANT: no workbook, however broken, is an error of ours."""
    content = bytearray(_SOUND)
    for place, value in damage:
        content[place] = value
    reasons = {
        "UNREADABLE_WORKBOOK", "UNSAFE_WORKBOOK", "WORKBOOK_TOO_LARGE", "SHEET_NOT_FOUND",
        "FORMULA_CELL", "EMPTY_FILE", "UNREADABLE_FILE",
    }  # fmt: skip
    try:
        asyncio.run(read(bytes(content)))
    except InvalidArgument as error:
        reason = error.reason
    else:
        return
    assert reason in reasons
