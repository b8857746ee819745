"""What a file is, by its bytes.

What a client says of a file decides nothing. Its name decides only between types that begin alike (a `docx`
is a zip) and between kinds of plain text.
"""

import codecs
import re

import puremagic

from crmattachments.file_names import FIELD
from crmkit.errors import InvalidArgument

UNKNOWN = "application/octet-stream"
HEAD_BYTES = 8192  # enough for every signature
_SURE = 0.3  # a signature of three bytes; two letters at the beginning of a text are none
_TEXTS = {
    "csv": "text/csv", "tsv": "text/tab-separated-values", "json": "application/json",
    "md": "text/markdown", "ics": "text/calendar", "vcf": "text/vcard", "eml": "message/rfc822",
}  # fmt: skip
# Types of text that have a signature.
_SIGNED_TEXTS = frozenset({"application/pdf", "application/rtf", "application/postscript"})
# Pictures that everything shows without asking: what has such a name must be one.
_PICTURE_NAMES = frozenset({"jpg", "jpeg", "jpe", "jfif", "png", "gif", "webp"})
_PICTURES = frozenset({"image/jpeg", "image/png", "image/gif", "image/webp"})

# What begins with a tag is a page, whatever else it is; the tags are those of WHATWG MIME Sniffing.
_PAGE = re.compile(
    rb"<(!doctype html|html|head|body|script|iframe|h1|div|font|table|a|style|title|b|br|p|img|meta"
    rb"|link|form|object|embed)[\s/>]",
    re.IGNORECASE,
)
_DRAWING = re.compile(rb"<svg[\s/>]", re.IGNORECASE)
_PHP = re.compile(rb"<\?(php\b|=)", re.IGNORECASE)
# What may stand before the first tag, from … to.
_BEFORE_TAGS = ((b"<!--", b"-->"), (b"<?xml", b"?>"), (b"<!doctype svg", b">"))

# What may be sent under its own type: nothing that a browser, or a program that trusts the type, would run.
_INERT = re.compile(
    r"image/(?!svg)|audio/|video/|text/(plain|csv|markdown|calendar|vcard|tab-separated-values)$"
    r"|application/(pdf|json|zip|rtf|msword|vnd\.(?!.*executable))|message/rfc822$"
)


class TextCheck:
    """Whether all of a file, given in pieces, is text: UTF-8 without control characters."""

    _CONTROLS = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")

    def __init__(self) -> None:
        """Nothing has been seen, and nothing speaks against it."""
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._possible = True

    def add(self, piece: bytes, *, last: bool = False) -> None:
        """Looks at the next piece."""
        try:
            self._decoder.decode(piece, final=last)
        except UnicodeDecodeError:
            self._possible = False
        self._possible = self._possible and self._CONTROLS.search(piece) is None

    def holds(self) -> bool:
        """True if it is text; asked at the end."""
        self.add(b"", last=True)
        return self._possible


def sniff(head: bytes, suffix: str, *, is_text: bool) -> str:
    """The type of a file.

    Args:
        head: Its first bytes.
        suffix: What its name ends with: `pdf`.
        is_text: Whether all of it is text.

    Raises:
        InvalidArgument: `CONTENT_CONTRADICTS_NAME`: it is called a picture and is none.
    """
    found = _text_type(head, suffix) if is_text else _signed_type(head, suffix)
    if suffix in _PICTURE_NAMES and found not in _PICTURES:
        msg = f"{FIELD} ends with .{suffix}, but the file is {found}."
        metadata = {"content_type": found}
        raise InvalidArgument(
            msg, reason="CONTENT_CONTRADICTS_NAME", field=FIELD, metadata=metadata
        )
    return found


def served_as(content_type: str) -> str:
    """The type that a download is sent with: what could be run is only bytes."""
    return content_type if _INERT.match(content_type) else UNKNOWN


def _text_type(head: bytes, suffix: str) -> str:
    start = head.removeprefix(codecs.BOM_UTF8).lstrip()
    if start.startswith(b"#!"):
        return "text/x-shellscript"
    if _PHP.match(start):
        return "application/x-httpd-php"
    tags = _from_first_tag(start)
    if _DRAWING.match(tags):
        return "image/svg+xml"
    if _PAGE.match(tags):
        return "text/html"
    if start[:5].lower() == b"<?xml":
        return "application/xml"
    signed = _signed_type(start, suffix) if start else UNKNOWN
    return signed if signed in _SIGNED_TEXTS else _TEXTS.get(suffix, "text/plain")


def _from_first_tag(start: bytes) -> bytes:
    """The text without declarations and comments at its beginning."""
    while True:
        for opening, closing in _BEFORE_TAGS:
            if start[: len(opening)].lower() == opening:
                start = start.partition(closing)[2].lstrip()
                break
        else:
            return start


def _signed_type(head: bytes, suffix: str) -> str:
    try:
        found = puremagic.magic_string(head)
    except puremagic.PureError:
        return UNKNOWN
    sure = [m for m in found if m.confidence >= _SURE and m.mime_type]
    named = [m for m in sure if m.extension == f".{suffix}"]
    # A zip with another name is a zip, not the first kind of file that is packed as one.
    zipped = [m for m in sure if m.extension == ".zip"]
    best = (named or zipped or sure)[:1]
    return str(best[0].mime_type) if best else UNKNOWN
