"""Why a record was found: the fields that answer a query, and what of their values does."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from customer.domain.search_entry import Text, keys_of
from customer.domain.search_query import Query
from customer.domain.spelling import bare, compact, spans, spellings, words

_MOST = 10
_SAME, _BEGINS, _MEANT = 10.0, 5.0, 1.0
_IN_PARTS = frozenset({"NAME", "PLACE"})


@dataclass(frozen=True, slots=True)
class Match:
    """A field that answers a query.

    Attributes:
        highlights: Start and length of what does; none where the way it is read does.
        weight: How much of the query it answers, to put the best first.
    """

    field: str
    value: str
    highlights: tuple[tuple[int, int], ...]
    weight: float


def explain(
    query: Query, texts: Sequence[Text], meant: Mapping[str, int], reading: str
) -> list[Match]:
    """The fields that answer a query, the best first.

    Args:
        query: What was looked for.
        texts: What of the record the caller may see.
        meant: Words that are taken for wrong spellings.
        reading: How the record's name is read, where it is not as it is written.
    """
    found = [match for text in texts if (match := _match(query, text, meant)) is not None]
    if not any(match.field == "display_name" for match in found):
        found += _by_reading(query, texts, reading)
    return sorted(found, key=lambda match: -match.weight)[:_MOST]


def _match(query: Query, text: Text, meant: Mapping[str, int]) -> Match | None:
    keys = keys_of(text)
    if any(key in keys for key in query.keys):
        return Match(text.field, text.value, ((0, len(text.value)),), 100)
    if text.kind in _IN_PARTS or text.kind == "DOMAIN":
        in_parts = _in_parts(query, text, meant)
        if in_parts is not None:
            return in_parts
    if any(key.startswith(form) for key in keys for form in query.keys):
        found = (
            _digits(query, text.value) if text.kind == "PHONE" else _beginning(query, text.value)
        )
        return Match(text.field, text.value, found, 50)
    return _in_parts(query, text, meant) if text.kind == "EMAIL" else None


def _beginning(query: Query, value: str) -> tuple[tuple[int, int], ...]:
    """As much of a value as the query says of its beginning; the whole where that cannot be told."""
    for end in range(1, len(value) + 1):
        if compact(value[:end]) in query.keys or value[:end].lower() in query.keys:
            return ((0, end),)
    return ((0, len(value)),)


def _digits(query: Query, number: str) -> tuple[tuple[int, int], ...]:
    """The digits of a number that the query says, from the country or from the area on."""
    places = ((number.find(key), len(key)) for key in query.keys)
    return next(((place,) for place in places if place[0] >= 0), ((0, len(number)),))


def _in_parts(query: Query, text: Text, meant: Mapping[str, int]) -> Match | None:
    parts: list[tuple[int, int]] = []
    weight = 0.0
    for start, end in spans(text.value):
        for at, length, worth in _in_word(query, text.value[start:end], meant):
            parts.append((start + at, length))
            weight += worth
    return Match(text.field, text.value, tuple(parts), weight) if parts else None


def _in_word(
    query: Query, written: str, meant: Mapping[str, int]
) -> Iterable[tuple[int, int, float]]:
    """Places in a word, as it is written, that a word of the query says: start, length, worth."""
    forms = [word for spelling in spellings(written) for word in words(spelling)]
    best: tuple[int, int, float] | None = None
    for word in query.words:
        if word.is_unspaced:
            at = bare(written).find(word.forms[0])
            if at >= 0 and len(bare(written)) == len(written):
                return [(at, len(word.forms[0]), _SAME)]
        for form in word.forms:
            worth = max((_worth(form, one, meant) for one in forms), default=0.0)
            if worth and (best is None or worth > best[2]):
                only_begins = worth == _BEGINS and len(bare(written)) == len(written)
                best = (0, len(form) if only_begins else len(written), worth)
    return [best] if best is not None else []


def _worth(form: str, word: str, meant: Mapping[str, int]) -> float:
    if form == word:
        return _SAME
    if word.startswith(form):
        return _BEGINS
    return _MEANT if word in meant else 0.0


def _by_reading(query: Query, texts: Sequence[Text], reading: str) -> list[Match]:
    """The name, where the query says how it is read: `zhang san` or `zs` for 张三."""
    syllables = words(reading)
    joined = "".join(syllables)
    initials = "".join(syllable[0] for syllable in syllables)
    by_word = any(
        s.startswith(form) for word in query.words for form in word.forms for s in syllables
    )
    by_key = any(joined.startswith(key) or initials.startswith(key) for key in query.keys)
    if not (by_word or by_key):
        return []
    return [
        Match(text.field, text.value, (), 8.0) for text in texts if text.field == "display_name"
    ]
