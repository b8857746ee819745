"""Is a workbook safe to read? Looks at the archive and at every part, without a library for workbooks.

All limits are counted while the parts are unpacked: what the archive says of itself is not believed.
"""

import io
import re
import struct
import zipfile
import zlib
from collections.abc import Iterator
from posixpath import join, normpath
from xml.etree import ElementTree as ET

from crmtransfer.sandbox.answers import Refused

MAX_BYTES = 20 * 1024 * 1024
MAX_UNPACKED_BYTES = 200 * 1024 * 1024
MAX_RATIO = 100
MAX_ENTRIES = 64
_MAX_INDEX_BYTES = 2 * 1024 * 1024  # of the workbook's list of sheets
_MAX_DIRECTORY_BYTES = 64 * 1024
_PIECE = 1024 * 1024
_OVERLAP = 2048
_END = b"PK\x05\x06"
_END_SIZE = 22
_LONGEST_COMMENT = 65535
_XML = (".xml", ".rels")
_METHODS = {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED}
_MARKUP = re.compile(rb"<!(?:DOCTYPE|ENTITY)")
_FORMULA = re.compile(
    rb'<(?:\w+:)?c\b[^>]{0,500}?\br="([A-Z]{1,3}\d{1,7})"[^>]{0,500}>\s*<(?:\w+:)?f[\s/>]'
)
_MAIN = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ID = "{http://schemas.openxmlformats.org/officeDocument/2006/relationships}id"


def checked(data: bytes) -> zipfile.ZipFile:
    """The archive of a workbook, looked through to its last byte; raises Refused."""
    if len(data) > MAX_BYTES:
        msg = f"A workbook has at most {MAX_BYTES // 1024**2} MB; save the sheet as CSV."
        raise Refused(reason="WORKBOOK_TOO_LARGE", message=msg)
    _check_directory(data)
    try:
        archive = zipfile.ZipFile(io.BytesIO(data))
        _check_entries(archive, len(data))
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, OSError, ValueError,
            RuntimeError, struct.error, EOFError, zlib.error) as error:  # fmt: skip
        raise _damaged() from error
    return archive


def _damaged() -> Refused:
    return Refused(
        reason="UNREADABLE_WORKBOOK", message="The file is no workbook (XLSX), or it is damaged."
    )


def _check_directory(data: bytes) -> None:
    """Before anything is made of its entries: how many are there?"""
    at = data.rfind(_END, max(0, len(data) - _END_SIZE - _LONGEST_COMMENT))
    if at < 0 or len(data) - at < _END_SIZE:
        raise _damaged()
    entries, size = struct.unpack_from("<HL", data, at + 10)
    if entries > MAX_ENTRIES or size > _MAX_DIRECTORY_BYTES:
        msg = f"The workbook has more than {MAX_ENTRIES} parts; save the sheet as CSV."
        raise Refused(reason="UNSAFE_WORKBOOK", message=msg)


def _check_entries(archive: zipfile.ZipFile, packed: int) -> None:
    entries = archive.infolist()
    names = {entry.filename for entry in entries}
    if len(entries) > MAX_ENTRIES or len(names) < len(entries):
        msg = "The workbook has too many parts, or one of them twice."
        raise Refused(reason="UNSAFE_WORKBOOK", message=msg)
    if "xl/workbook.xml" not in names:
        raise _damaged()
    if any(name.startswith("xl/externalLinks/") for name in names):
        msg = "The workbook refers to other workbooks: copy the sheet and paste it as values."
        raise Refused(reason="UNSAFE_WORKBOOK", message=msg)
    most = min(MAX_UNPACKED_BYTES, MAX_RATIO * packed)
    if sum(entry.file_size for entry in entries) > most:
        raise _too_large()
    unpacked = 0
    for entry in entries:
        if entry.compress_type not in _METHODS or entry.flag_bits & 1:
            msg = "The workbook is encrypted or packed unusually."
            raise Refused(reason="UNREADABLE_WORKBOOK", message=msg)
        for piece in _pieces(archive, entry):
            unpacked += len(piece)
            if unpacked > most:
                raise _too_large()
            if entry.filename.lower().endswith(_XML) and _MARKUP.search(piece):
                msg = "The workbook declares XML entities; no spreadsheet program does that."
                raise Refused(reason="UNSAFE_WORKBOOK", message=msg)


def _too_large() -> Refused:
    most = MAX_UNPACKED_BYTES // 1024**2
    msg = f"The workbook unpacks to more than {most} MB, or to {MAX_RATIO} times its size."
    return Refused(reason="WORKBOOK_TOO_LARGE", message=msg)


def _pieces(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> Iterator[bytes]:
    """The part's bytes; each piece begins with the end of the one before, which counts twice."""
    with archive.open(entry) as part:
        before = b""
        while piece := part.read(_PIECE):
            yield before + piece
            before = piece[-_OVERLAP:]


def sheet_to_read(archive: zipfile.ZipFile, wanted: str) -> tuple[str, str]:
    """Name and part of the sheet wanted, or of the first that is not hidden; raises Refused."""
    workbook = _parsed(archive, "xl/workbook.xml")
    parts = {
        relation.get("Id", ""): relation.get("Target", "")
        for relation in _parsed(archive, "xl/_rels/workbook.xml.rels")
    }
    sheets = [
        (sheet.get("name", ""), parts.get(sheet.get(_ID, ""), ""), sheet.get("state", ""))
        for sheet in workbook.iter(f"{_MAIN}sheet")
    ]
    for name, target, state in sheets:
        if name == wanted or (not wanted and state not in {"hidden", "veryHidden"}):
            return name, normpath(join("/xl", target)).lstrip("/")
    names = ", ".join(name for name, _, _ in sheets)
    msg = (
        f"The workbook has no sheet {wanted!r}; it has {names}."
        if wanted
        else "No sheet is visible."
    )
    raise Refused(reason="SHEET_NOT_FOUND", message=msg[:500])


def _parsed(archive: zipfile.ZipFile, name: str) -> ET.Element:
    """A small part, parsed; there are no entities in it."""
    try:
        entry = archive.getinfo(name)
        if entry.file_size > _MAX_INDEX_BYTES:
            raise _too_large()
        return ET.fromstring(archive.read(entry))  # noqa: S314 - what is dangerous is refused before
    except (KeyError, ET.ParseError) as error:
        raise _damaged() from error


def refuse_formulas(archive: zipfile.ZipFile, part: str) -> None:
    """A formula's result may be old or missing, and nothing says so: it is not taken."""
    try:
        entry = archive.getinfo(part)
    except KeyError as error:
        raise _damaged() from error
    for piece in _pieces(archive, entry):
        found = _FORMULA.search(piece)
        if found is not None:
            msg = (
                f"The cell {found[1].decode()} is a formula: copy the sheet, paste it as values, and"
                " send that."
            )
            raise Refused(reason="FORMULA_CELL", message=msg)
