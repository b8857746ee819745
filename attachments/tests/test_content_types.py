"""What a file is, by its bytes and not by what is said of it."""

import io
import zipfile
from time import perf_counter

import pytest

from crmattachments.content_types import HEAD_BYTES, TextCheck, served_as, sniff
from crmkit.errors import InvalidArgument

OCTETS = "application/octet-stream"
DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08\x02\x00\x00\x00"
JPEG = b"\xff\xd8\xff\xe0\x00\x10JFIF\x00\x01" + bytes(40)
GIF, WEBP = b"GIF89a" + bytes(40), b"RIFF\x24\x00\x00\x00WEBPVP8 " + bytes(40)
PAGE, PHP = b"<!DOCTYPE html><script>alert(1)</script>", b"<?php system($_GET[0]);"
EXE = b"MZ\x90\x00" + bytes(60)


def packed(*names: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in names:
            archive.writestr(name, "x")
    return buffer.getvalue()


def found(content: bytes, suffix: str) -> str:
    check = TextCheck()
    check.add(content)
    return sniff(content[:HEAD_BYTES], suffix, is_text=check.holds())


@pytest.mark.parametrize(
    ("content", "suffix", "kind", "sent_as"),
    [
        (PNG, "png", "image/png", "image/png"),
        (PNG, "jpg", "image/png", "image/png"),
        (JPEG, "jpeg", "image/jpeg", "image/jpeg"),
        (GIF, "", "image/gif", "image/gif"),
        (WEBP, "webp", "image/webp", "image/webp"),
        (b"%PDF-1.7\n%\xe2\xe3\n", "pdf", "application/pdf", "application/pdf"),
        (b"%PDF-1.4\nall of it text", "txt", "application/pdf", "application/pdf"),
        (packed("word/document.xml"), "docx", DOCX, DOCX),
        (packed("a.txt"), "zip", "application/zip", "application/zip"),
        (packed("a.txt"), "", "application/zip", "application/zip"),
        (b"a;b\n1;2\n", "csv", "text/csv", "text/csv"),
        (b"a;b\n1;2\n", "exe", "text/plain", "text/plain"),
        ("Grüße".encode(), "txt", "text/plain", "text/plain"),
        (b'{"a": 1}', "json", "application/json", "application/json"),
        (b"MZiegler called", "txt", "text/plain", "text/plain"),
        (b"BMW, three of them", "", "text/plain", "text/plain"),
        ("你好".encode("gb18030"), "txt", OCTETS, OCTETS),
        (bytes(range(256)), "bin", OCTETS, OCTETS),
        # -- what could be run
        (PAGE, "html", "text/html", OCTETS),
        (PAGE, "txt", "text/html", OCTETS),
        (b"\xef\xbb\xbf \n<!-- a --><!-- b -->\n<HTML>", "csv", "text/html", OCTETS),
        (b"<script>alert(1)</script>", "pdf", "text/html", OCTETS),
        (b"<svg xmlns='x' onload='alert(1)'/>", "svg", "image/svg+xml", OCTETS),
        (b"<?xml version='1.0'?><!-- --><!DOCTYPE svg>\n<svg>", "", "image/svg+xml", OCTETS),
        (b"<?xml version='1.0'?><order/>", "xml", "application/xml", OCTETS),
        (PHP, "php", "application/x-httpd-php", OCTETS),
        (b"#!/bin/sh\nrm -rf /", "txt", "text/x-shellscript", OCTETS),
        (EXE, "pdf", "application/vnd.microsoft.portable-executable", OCTETS),
    ],
)  # fmt: skip
def test_a_file_is_what_its_bytes_are(content: bytes, suffix: str, kind: str, sent_as: str) -> None:
    """INVARIANT: what could be run or rendered as a page is never sent under its own type."""
    assert found(content, suffix) == kind
    assert served_as(kind) == sent_as


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "png", "gif", "webp"])
@pytest.mark.parametrize(
    "content", [PAGE, PHP, EXE, b"GIF89a<?php system($_GET[0]);", b"<svg/>", b"text"]
)
def test_what_is_called_a_picture_is_one(content: bytes, suffix: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        found(content, suffix)
    assert refused.value.reason == "CONTENT_CONTRADICTS_NAME"


@pytest.mark.parametrize("count", [1, 3, 7])
def test_text_is_text_in_pieces_of_any_size(count: int) -> None:
    """A piece may end within a character."""
    text = "Größe 合同 €\r\n\t".encode()
    check = TextCheck()
    for start in range(0, len(text), count):
        check.add(text[start : start + count])
    assert check.holds()


@pytest.mark.parametrize("content", [b"a\x00b", b"\xff\xfe", b"half \xe5\x90", b"bell \x07"])
def test_anything_else_is_none(content: bytes) -> None:
    check = TextCheck()
    check.add(content)
    assert not check.holds()


@pytest.mark.parametrize(
    "start", [b"<!---->", b"<!--", b"<?xml", b"<!doctype svg ", b"< <svg", b"\n"]
)
def test_no_beginning_takes_long(start: bytes) -> None:
    """Comments within comments, never closed: time must not grow faster than their number."""
    content = (start * HEAD_BYTES)[:HEAD_BYTES]
    began = perf_counter()
    found(content, "txt")
    assert perf_counter() - began < 0.5
