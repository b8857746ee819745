"""Text in the forms in which it is searched: whatever its script, accents, width and punctuation.

What a record holds and what somebody types go through the same functions, so that they meet.
"""

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

from customer.domain.names import fold, is_chinese

# Scripts without spaces between words: found by pairs of characters. Korean has spaces, but no parts of
# names stand apart.
_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af"
    "\U00020000-\U0003ffff"
)
_RUN = re.compile(f"[{_UNSPACED}]+|[^{_UNSPACED}]+")
_ASCII_WORD = re.compile(r"[A-Za-z0-9]+(?:'[A-Za-z0-9]+)*")
_SIGNS = [chr(code) for code in range(128) if not chr(code).isalnum()]
_TOGETHER = str.maketrans(dict.fromkeys(_SIGNS))
_APART = str.maketrans({**dict.fromkeys(_SIGNS, " "), "'": None})
_APOSTROPHES = frozenset("'\u2019\u02bc\uff07")
# In words: accents that stand alone, and characters without width such as joiners and marks of direction.
_INSIDE = frozenset({"Mn", "Mc", "Me", "Cf"})
# Letters that many write as two: Müller is also Mueller.
_AS_TWO = str.maketrans(
    {"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe", "Ä": "ae", "Ö": "oe", "Ü": "ue"}
    | {"Å": "aa", "Ø": "oe"}
)
_NO_NUMBER = re.compile(r"[^\d+()./\sxX-]")
_TRUNK = re.compile(r"\(0\)")
LONGEST_WORD = 40


@lru_cache(maxsize=20_000)
def bare(text: str) -> str:
    """The letters and digits of a text, folded."""
    folded = fold(text)
    if folded.isascii():
        return folded if folded.isalnum() else "".join(filter(str.isalnum, folded))
    kept = (c for c in folded if c.isalnum() or unicodedata.category(c) in {"Mn", "Mc"})
    return "".join(map(_digit, kept))


def _digit(character: str) -> str:
    """Digits of other scripts as ours: ٣ is 3."""
    digit = unicodedata.decimal(character, None)
    return character if digit is None else str(digit)


def spans(text: str) -> Iterator[tuple[int, int]]:
    """Where the words of a text begin and end; O'Brien is one."""
    if text.isascii():
        yield from (match.span() for match in _ASCII_WORD.finditer(text))
        return
    start = None
    for position, character in enumerate(text):
        inside = character.isalnum() or (
            start is not None
            and (character in _APOSTROPHES or unicodedata.category(character) in _INSIDE)
        )
        if inside and start is None:
            start = position
        elif not inside and start is not None:
            yield start, position
            start = None
    if start is not None:
        yield start, len(text)


def words(text: str) -> list[str]:
    """The words of a text, folded; a change between scripts with and without spaces ends a word."""
    if text.isascii():
        return [word[:LONGEST_WORD] for word in text.lower().translate(_APART).split()]
    found: list[str] = []
    for start, end in spans(text):
        word = bare(text[start:end])
        found += [word] if word.isascii() else _RUN.findall(word)
    return [word[:LONGEST_WORD] for word in found if word]


def compact(text: str) -> str:
    """A text in one piece, for what is compared from its beginning on."""
    if text.isascii():
        return text.lower().translate(_TOGETHER)
    return "".join(bare(text[start:end]) for start, end in spans(text))


def as_two(text: str) -> str:
    """The text as those write it who have no accents: Mueller; the same text where there are none."""
    if text.isascii():
        return text
    return unicodedata.normalize("NFC", text).translate(_AS_TWO)


def spellings(text: str) -> list[str]:
    """The ways to write a text: one, or two where it has letters that some write as two."""
    other = as_two(text)
    return [text] if other == text else [text, other]


def is_unspaced(word: str) -> bool:
    """True for a word, as `words` makes them, of a script without spaces."""
    return not word.isascii() and re.match(f"[{_UNSPACED}]", word) is not None


def pieces(word: str) -> list[str]:
    """What a word of a script without spaces is found by: its pairs of characters."""
    return [word[i : i + 2] for i in range(len(word) - 1)] or [word]


def single_characters(word: str) -> list[str]:
    """The Chinese characters of a word: each of them means something."""
    return [character for character in word if is_chinese(character)]


def digits_to_dial(text: str) -> str:
    """The digits of a number without what is dialled before it: +, 00, or the 0 of a long-distance call.

    Empty where the text is more than a number, or has fewer than three digits.
    """
    plain = unicodedata.normalize("NFKC", text)
    if _NO_NUMBER.search(plain):
        return ""
    digits = "".join(_digit(c) for c in _TRUNK.sub("", plain) if c.isdecimal())
    return digits.lstrip("0") if len(digits) >= 3 else ""  # noqa: PLR2004 - fewer are no number
