"""What somebody searches for, taken apart."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import phonenumbers
from jellyfish import damerau_levenshtein_distance
from phonenumbers import NumberParseException

from crmkit.errors import InvalidArgument
from crmkit.field_values import BLANK
from crmkit.field_values import text as clean
from customer.domain.names import fold, is_chinese
from customer.domain.spelling import (
    compact,
    digits_to_dial,
    is_unspaced,
    pieces,
    spellings,
    words,
)

_MOST_WORDS = 12
_MOST_LETTERS_OF_KEY = 100
_SHORTEST_NUMBER = 7  # digits, to be read by the rules of a country
# With fewer letters a slip makes another word; with three one may be missing; from eight on there may be two.
_SHORTEST_MISSPELT = 3
_SHORTEST_MISSPELT_UNSPACED = 3
_SHORTEST_WITH_OTHERS = 4
_TWO_SLIPS_FROM = 8
_FAR = 99


@dataclass(frozen=True, slots=True)
class Word:
    """One of the words looked for.

    Attributes:
        forms: The ways to write it.
        is_unspaced: True where the script has no spaces: it is found by `pieces`, anywhere in a name.
    """

    forms: tuple[str, ...]
    is_unspaced: bool

    @property
    def pieces(self) -> list[str]:
        """What it is found by where the script has no spaces."""
        return pieces(self.forms[0])

    @property
    def is_found_by_pieces(self) -> bool:
        """True for Chinese, and for two letters and more of the other scripts without spaces."""
        return self.is_unspaced and (len(self.forms[0]) > 1 or is_chinese(self.forms[0]))

    @property
    def has_digits(self) -> bool:
        """True for numbers and the like, of which none is a wrong spelling of another."""
        return any(map(str.isdigit, self.forms[0]))

    @property
    def can_be_misspelt(self) -> bool:
        """True for what is long enough that a slip shows."""
        shortest = _SHORTEST_MISSPELT_UNSPACED if self.is_unspaced else _SHORTEST_MISSPELT
        return len(self.forms[0]) >= shortest and not self.has_digits


@dataclass(frozen=True, slots=True)
class Query:
    """What is looked for.

    Attributes:
        keys: The whole text in the forms in which keys are compared.
        words: Its words; all of them must be found.
    """

    keys: tuple[str, ...]
    words: tuple[Word, ...]

    @property
    def is_identifier(self) -> bool:
        """True for what names one record rather than many: a number, an address."""
        return any(word.has_digits for word in self.words) or any("@" in key for key in self.keys)

    @property
    def length(self) -> int:
        """The letters of the longest form."""
        return max(map(len, self.keys), default=0)


def parse_query(text: str, region: str) -> Query:
    """Takes apart what somebody typed; numbers without a country are of the region.

    Raises:
        InvalidArgument: There is nothing to look for, or a character that nobody types.
    """
    text = clean(text, "query", one_line=False).strip(BLANK)
    if not text:
        msg = "query is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="query")
    whole = [compact(spelling) for spelling in spellings(text)]
    literal = "".join(fold(text).split())
    has_address = "@" in literal or "." in literal
    keys = [*whole, *([literal] if has_address else []), *_numbers(text, region)]
    found = {key[:_MOST_LETTERS_OF_KEY]: None for key in keys if key.strip(".@-_")}
    return Query(keys=tuple(found), words=tuple(_words(text)))


def _numbers(text: str, region: str) -> list[str]:
    digits = digits_to_dial(text)
    if len(digits) < _SHORTEST_NUMBER:
        return [digits]
    try:
        read = phonenumbers.parse(text, region or None)
    except NumberParseException:
        return [digits]
    if not phonenumbers.is_possible_number(read):
        return [digits]
    return [digits, f"{read.country_code}{phonenumbers.national_significant_number(read)}"]


def _words(text: str) -> Iterable[Word]:
    """The longest words of a text, each once: they say the most. Of an address not the `com` at its end."""
    if "@" in text and len(text.split()) == 1:
        text = text.rpartition(".")[0] or text
    forms = [words(spelling) for spelling in spellings(text)]
    same_number = len({len(found) for found in forms}) == 1
    columns = zip(*forms, strict=True) if same_number else ((word,) for word in forms[0])
    unique = {
        column[0]: Word(tuple(dict.fromkeys(column)), is_unspaced(column[0])) for column in columns
    }
    return sorted(unique.values(), key=lambda word: -len(word.forms[0]))[:_MOST_WORDS]


def swapped(word: str) -> list[str]:
    """The word with two neighbouring letters changed over, in every place."""
    return [word[:i] + word[i + 1] + word[i] + word[i + 2 :] for i in range(len(word) - 1)]


def misspellings(word: Word, candidates: Iterable[str]) -> Mapping[str, int]:
    """Those of some words that somebody may have meant, and how many slips away each is."""
    found: dict[str, int] = {}
    for form in word.forms:
        most = 2 if len(form) >= _TWO_SLIPS_FROM else 1
        for candidate in candidates:
            slips = _slips(form, candidate, unspaced=word.is_unspaced)
            if candidate != form and slips <= most:
                found[candidate] = min(max(slips, 1), found.get(candidate, most))
    return found


def _slips(form: str, candidate: str, *, unspaced: bool) -> int:
    """How many slips away a word is, or its beginning; of three letters only one can be missing."""
    slips = damerau_levenshtein_distance(form, candidate)
    if unspaced or len(form) > _SHORTEST_WITH_OTHERS:
        return min(slips, damerau_levenshtein_distance(form, candidate[: len(form)]))
    is_other_word = len(form) < _SHORTEST_WITH_OTHERS and len(candidate) <= len(form)
    return _FAR if is_other_word else slips
