"""The names of files as people see them; nothing is ever stored under one."""

import re
import unicodedata
from pathlib import PurePosixPath
from urllib.parse import quote

from crmkit.errors import InvalidArgument

FIELD = "file_name"
_LONGEST = 255
_LONGEST_SUFFIX = 20
# Control characters, what turns the direction of text (`gpj.exe` shown as `exe.jpg`), what Windows refuses.
_UNWANTED = re.compile(r'[\x00-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff"*:<>?|]')
_NOT_IN_HEADERS = re.compile(r"[^\w .()+,=@-]", re.ASCII)


def cleaned(sent: str) -> str:
    """The name without folders and without what deceives readers or some systems refuse.

    A name that is too long loses letters before its suffix.

    Raises:
        InvalidArgument: Nothing is left of it.
    """
    last = unicodedata.normalize("NFC", sent).replace("\\", "/").rstrip("/").rpartition("/")[2]
    name = _UNWANTED.sub("_", last).strip().rstrip(". ")
    if not name.strip("._ "):
        msg = f"{FIELD} must name a file."
        raise InvalidArgument(msg, field=FIELD)
    if len(name) <= _LONGEST:
        return name
    suffix = PurePosixPath(name).suffix[:_LONGEST_SUFFIX]
    return name[: _LONGEST - len(suffix)] + suffix


def suffix(name: str) -> str:
    """What follows the last dot, in small letters: `jpg`; empty if there is no dot."""
    return PurePosixPath(name).suffix.lower().removeprefix(".")


def content_disposition(name: str) -> str:
    """The header that makes browsers save a file under its name (RFC 6266)."""
    plain = _NOT_IN_HEADERS.sub("_", name)
    encoded = quote(name, safe="")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"
