"""Workbooks for tests: sound ones, and such as no spreadsheet program would write."""

import io
import zipfile
from collections.abc import Mapping, Sequence
from typing import Any

import xlsxwriter

_TYPES = (
    '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types">'
    '<Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/>'
    '<Default Extension="xml" ContentType="application/xml"/>'
    '<Override PartName="/xl/workbook.xml" ContentType="application/vnd.openxmlformats-officedocument.'
    'spreadsheetml.sheet.main+xml"/></Types>'
)
_RELATIONS = "http://schemas.openxmlformats.org/officeDocument/2006/relationships"
_MAIN = "http://schemas.openxmlformats.org/spreadsheetml/2006/main"
_PACKAGE = "http://schemas.openxmlformats.org/package/2006/relationships"


def workbook(rows: Sequence[Sequence[Any]], **sheets: Sequence[Sequence[Any]]) -> bytes:
    """A workbook as a program of today writes it, with further sheets by name."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(out, {"default_date_format": "yyyy-mm-dd", "strings_to_urls": False})
    for name, table in {"Sheet1": rows, **sheets}.items():
        sheet = book.add_worksheet(name)
        for number, cells in enumerate(table):
            sheet.write_row(number, 0, cells)
    book.close()
    return out.getvalue()


def parts(sheet: str) -> dict[str, str]:
    """The parts of the smallest workbook, with this as its sheet."""
    return {
        "[Content_Types].xml": _TYPES,
        "_rels/.rels": (
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_RELATIONS}/officeDocument"'
            ' Target="xl/workbook.xml"/></Relationships>'
        ),
        "xl/workbook.xml": (
            f'<workbook xmlns="{_MAIN}" xmlns:r="{_RELATIONS}"><sheets><sheet name="S" sheetId="1"'
            ' r:id="r1"/></sheets></workbook>'
        ),
        "xl/_rels/workbook.xml.rels": (
            f'<Relationships xmlns="{_PACKAGE}"><Relationship Id="r1" Type="{_RELATIONS}/worksheet"'
            ' Target="worksheets/sheet1.xml"/></Relationships>'
        ),
        "xl/worksheets/sheet1.xml": sheet,
    }


def sheet(*rows: str) -> str:
    """A sheet of rows of cells, each a piece of XML."""
    data = "".join(f'<row r="{n}">{cells}</row>' for n, cells in enumerate(rows, start=1))
    return f'<worksheet xmlns="{_MAIN}"><sheetData>{data}</sheetData></worksheet>'


def text_cell(place: str, text: str) -> str:
    """A cell with text in it."""
    return f'<c r="{place}" t="inlineStr"><is><t>{text}</t></is></c>'


def zipped(content: Mapping[str, str | bytes]) -> bytes:
    """The parts as an archive."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, part in content.items():
            archive.writestr(name, part)
    return out.getvalue()
