"""Which encodings files may have; and which one a file probably has that is not UTF-8.

A guess is only ever told to a person: a wrong one would spoil names without anybody noticing.
"""

import codecs
from functools import lru_cache

from charset_normalizer import from_bytes

from crmkit.errors import InvalidArgument

_SAMPLE_BYTES = 16_384
_NAMES = (
    "utf-8", "utf-16-le", "utf-16-be", "gb18030", "big5", "shift_jis", "euc-jp", "euc-kr",
    *(f"windows-{page}" for page in range(1250, 1259)),
    *(f"iso-8859-{part}" for part in (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 13, 14, 15, 16)),
    "koi8-r", "koi8-u", "macintosh",
)  # fmt: skip
_KNOWN = {codecs.lookup(name).name: name for name in _NAMES}
# What the library finds is often a small part of what people's programs write.
_WIDER = {"gb2312": "gb18030", "gbk": "gb18030", "ascii": "utf-8", "cp949": "euc-kr"}


def checked(name: str, field: str) -> str:
    """The encoding by its usual name, empty if none is given; raises InvalidArgument."""
    if not name:
        return ""
    try:
        known = _KNOWN.get(codecs.lookup(name).name)
    except (LookupError, ValueError):
        known = None
    if known is None:
        msg = f"{name!r} is none of the encodings that can be read: {', '.join(_NAMES)}."
        raise InvalidArgument(msg, field=field)
    return known


@lru_cache(maxsize=16)
def guess(around: bytes) -> str:
    """The encoding that text probably has, with what it reads like; empty if there is no telling."""
    best = from_bytes(around[:_SAMPLE_BYTES]).best()
    if best is None:
        return ""
    name = _WIDER.get(best.encoding.replace("_", "-"), best.encoding)
    try:
        return _KNOWN.get(codecs.lookup(name).name, "")
    except LookupError:
        return ""
