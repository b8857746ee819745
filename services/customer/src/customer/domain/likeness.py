"""How likely two records are the same person or firm, and why: weights of evidence after Fellegi and Sunter.

What agrees, or does not, is worth log2(m / u) bits: m is how often it is so in two records of one person, u
how often by chance in two records of different ones. The bits of the fields are added to what is likely
before anything is compared, and say how likely the records are the same. The shares m and u are estimates
for any list of people, not measured on one file: people mistype and move (m), and a given name is that of
one in a hundred, a birthday of one in twenty thousand (u).

What one home shares (address, phone, an e-mail address) is no independent evidence: together it counts no
more than one good piece of it, and people of one home whose names differ stay apart. A name alone never
makes a duplicate.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date
from math import log2

from jellyfish import damerau_levenshtein_distance, jaro_winkler_similarity, metaphone

from customer.domain.profile import Place, Profile

# Of 100,000 records one is the double of a given one.
_BEFORE = -log2(100_000)
DUPLICATE_FROM = 0.7  # the score from which two records are called duplicates
# Bits: what one home or office shares counts this much at most, unless one piece alone is worth more.
_HOME_AT_MOST = 15.0
_OTHERS_AT_HOME = -8.0  # two people of one home, by their given names
_CROSSWISE = -1.0  # the names stand in each other's field
_MOST_BITS = 60.0
_RELATED = 0.78  # Jaro and Winkler's similarity from which words may be forms of one
_SHORT, _LONG = (
    3,
    8,
)  # letters: below the one a slip makes another word, from the other on two are no wonder

# What is found in a field → its share among records of one person or firm, and by chance.
_SHARES: dict[str, dict[str, tuple[float, float]]] = {
    "given_name": {
        "same": (0.70, 0.010),
        "alike": (0.15, 0.008),
        "beginning": (0.05, 0.030),
        "related": (0.05, 0.050),
        "different": (0.05, 0.900),
    },
    "family_name": {
        "same": (0.75, 0.002),
        "alike": (0.15, 0.003),
        "beginning": (0.01, 0.030),
        "related": (0.04, 0.050),
        "different": (0.05, 0.900),
    },
    "name": {
        "same": (0.70, 0.0005),
        "alike": (0.15, 0.0005),
        "contained": (0.05, 0.0050),
        "different": (0.05, 0.9900),
    },
    "birthday": {
        "same": (0.88, 0.00005),
        "one slip": (0.08, 0.00300),
        "different": (0.04, 0.99700),
    },
    "address": {
        "same": (0.45, 0.00005),
        "alike": (0.20, 0.0004),
        "same place": (0.10, 0.0200),
        "different": (0.25, 0.9900),
    },
    "phone": {"same": (0.60, 0.0002), "shared": (0.60, 0.08), "different": (0.40, 0.99)},
    "email": {
        "same": (0.80, 0.0000005),
        "shared": (0.60, 0.0200),
        "alike": (0.10, 0.0005),
        "different": (0.30, 0.9900),
    },
    "account": {"same": (0.60, 0.0100), "different": (0.40, 0.9900)},
    "domain": {"same": (0.70, 0.0010), "different": (0.30, 0.9990)},
    "tax_id": {"same": (0.90, 0.000001), "different": (0.02, 0.9990)},
}
_BITS = {
    field: {finding: log2(m / u) for finding, (m, u) in shares.items()}
    for field, shares in _SHARES.items()
}
_ANOTHER_NAME = frozenset({"related", "different"})  # of a given name: perhaps another person's
_HOME = frozenset({"address", "phone", "email", "domain"})
_NO_DIGITS = str.maketrans("", "", "0123456789")
# Addresses that several people of a firm read.
_SHARED_BOXES = frozenset({
    "info", "office", "mail", "contact", "kontakt", "sales", "service", "support", "admin", "hello",
    "hallo", "team", "post", "buero", "reception", "accounting", "billing", "invoice", "rechnung", "jobs",
    "hr", "help", "enquiries", "inquiries", "einkauf", "vertrieb", "verwaltung", "webmaster",
})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Evidence:
    """What was found in one field, and how many bits it speaks for one person or firm (or against it)."""

    field: str
    finding: str
    similarity: float
    weight: float


@dataclass(frozen=True, slots=True)
class Likeness:
    """How likely two records are the same, and why."""

    score: float
    evidence: tuple[Evidence, ...]

    @property
    def is_duplicate(self) -> bool:
        """Whether the two are called duplicates."""
        return self.score >= DUPLICATE_FROM


def compare(one: Profile, other: Profile, shared: frozenset[str] = frozenset()) -> Likeness:
    """How likely two records are the same person or firm.

    Args:
        one: A record.
        other: Another one.
        shared: E-mail addresses and phone numbers that many records have.
    """
    names = [_firm_name(one, other)] if one.firm else _names(one, other)
    found = [
        *names,
        _birthday(one.birthday, other.birthday),
        _address(one.places, other.places),
        _common("phone", one.phones, other.phones, shared),
        _email(one.emails, other.emails, shared),
        _common("account", one.accounts, other.accounts),
        _common("domain", one.domains, other.domains),
        _tax_id(one.tax_id, other.tax_id),
    ]
    evidence = _of_one_home([piece for piece in found if piece is not None])
    bits = _BEFORE + sum(piece.weight for piece in evidence)
    bits = max(-_MOST_BITS, min(_MOST_BITS, bits))
    return Likeness(1 / (1 + 2**-bits), tuple(evidence))


def is_shared_box(email: str) -> bool:
    """True for an address that by its name several people read."""
    return email.partition("@")[0] in _SHARED_BOXES


def _piece(field: str, finding: str, similarity: float) -> Evidence:
    return Evidence(field, finding, similarity, _BITS[field][finding])


def _of_one_home(evidence: list[Evidence]) -> list[Evidence]:
    """Weighs together what one home shares, and keeps its people apart."""
    home = [piece.weight for piece in evidence if piece.field in _HOME and piece.weight > 0]
    if not home:
        return evidence
    findings = {piece.field: piece.finding for piece in evidence}
    others = findings.get("given_name") in _ANOTHER_NAME
    most = _HOME_AT_MOST if others else max(_HOME_AT_MOST, *home, 0.0)
    share = min(1.0, most / sum(home))
    weighed = []
    for piece in evidence:
        weight = piece.weight
        if piece.field in _HOME and weight > 0:
            weight *= share
        elif piece.field == "given_name" and others and findings.get("birthday") != "same":
            weight += _OTHERS_AT_HOME
        weighed.append(Evidence(piece.field, piece.finding, piece.similarity, weight))
    return weighed


def _names(one: Profile, other: Profile) -> list[Evidence | None]:
    straight = [
        _word("given_name", one.given, other.given),
        _word("family_name", one.family, other.family),
    ]
    if not ((one.given and other.family) or (one.family and other.given)):
        return straight
    crosswise = [
        Evidence("name_order", "crosswise", 0.0, _CROSSWISE),
        _word("given_name", one.given, other.family),
        _word("family_name", one.family, other.given),
    ]
    return max(straight, crosswise, key=_sum)


def _sum(evidence: Iterable[Evidence | None]) -> float:
    return sum(piece.weight for piece in evidence if piece is not None)


def _word(field: str, one: str, other: str) -> Evidence | None:
    """A name, compared; None where one is not known."""
    if not one or not other:
        return None
    if one == other:
        return _piece(field, "same", 1.0)
    similarity = jaro_winkler_similarity(one, other)
    if _alike(one, other):
        return _piece(field, "alike", similarity)
    if one.startswith(other) or other.startswith(one):
        return _piece(field, "beginning", similarity)
    sound = metaphone(one)
    sounds_alike = len(sound) >= _SHORT and sound == metaphone(other)
    if sounds_alike or similarity >= _RELATED or set(one.split()) & set(other.split()):
        return _piece(field, "related", similarity)
    return _piece(field, "different", similarity)


def _alike(one: str, other: str) -> bool:
    """Whether a slip of the pen makes one of the other."""
    if one == other:
        return True
    shorter, longer = sorted((one, other), key=len)
    if len(shorter) < _SHORT:
        return False
    slips = 1 if len(longer) < _LONG else 2
    if len(longer) - len(shorter) <= slips and damerau_levenshtein_distance(one, other) <= slips:
        return True
    return one.replace(" ", "") == other.replace(" ", "")


def _firm_name(one: Profile, other: Profile) -> Evidence | None:
    if not one.name or not other.name:
        return None
    first, second = " ".join(one.name), " ".join(other.name)
    similarity = jaro_winkler_similarity(first, second)
    if sorted(one.name) == sorted(other.name):
        return _piece("name", "same", similarity)
    if _alike(first, second):
        return _piece("name", "alike", similarity)
    words, others = set(one.name), set(other.name)
    if words <= others or others <= words:
        return _piece("name", "contained", similarity)
    return _piece("name", "different", similarity)


def _birthday(one: date | None, other: date | None) -> Evidence | None:
    if one is None or other is None:
        return None
    if one == other:
        return _piece("birthday", "same", 1.0)
    first, second = one.isoformat(), other.isoformat()
    swapped = (one.year, one.day, one.month) == (other.year, other.month, other.day)
    similarity = jaro_winkler_similarity(first, second)
    if swapped or damerau_levenshtein_distance(first, second) == 1:
        return _piece("birthday", "one slip", similarity)
    return _piece("birthday", "different", similarity)


def _address(ones: tuple[Place, ...], others: tuple[Place, ...]) -> Evidence | None:
    """The best of what any two addresses say."""
    pairs = [_place(one, other) for one in ones for other in others]
    return max(pairs, key=lambda piece: piece.weight, default=None)


def _place(one: Place, other: Place) -> Evidence:
    similarity = jaro_winkler_similarity(one.street, other.street)
    postal = bool(one.postal_code) and _alike(one.postal_code, other.postal_code)
    locality = bool(one.locality) and _alike(one.locality, other.locality)
    if (not postal and not locality) or _elsewhere(one.region, other.region):
        return _piece("address", "different", similarity)
    number = bool(one.number) and one.number == other.number
    street = bool(one.street) and (
        _alike(one.street, other.street) or _alike(one.street, other.more)
    )
    more = bool(one.more) and _alike(one.more, other.more)
    if (street or more) and number:
        return _piece("address", "same", similarity)
    if street or more or (number and postal and locality):
        return _piece("address", "alike", similarity)
    if postal and locality:
        return _piece("address", "same place", similarity)
    return _piece("address", "different", similarity)


def _elsewhere(one: str, other: str) -> bool:
    return bool(one and other) and one != other


def _common(
    field: str,
    ones: Iterable[object],
    others: Iterable[object],
    shared: frozenset[str] = frozenset(),
) -> Evidence | None:
    """Whether two sets have something in common; None where one is empty."""
    mine, theirs = set(ones), set(others)
    if not mine or not theirs:
        return None
    both = mine & theirs
    if not both:
        return _piece(field, "different", 0.0)
    return _piece(field, "shared" if both <= shared else "same", 1.0)


def _tax_id(one: str, other: str) -> Evidence | None:
    if not one or not other:
        return None
    same = one == other
    return _piece("tax_id", "same" if same else "different", float(same))


def _email(ones: frozenset[str], others: frozenset[str], shared: frozenset[str]) -> Evidence | None:
    boxes = {address for address in ones & others if is_shared_box(address)}
    found = _common("email", ones, others, shared | boxes)
    if found is None or found.finding != "different":
        return found
    if any(_alike_addresses(one, other) for one in ones for other in others):
        return _piece("email", "alike", 0.9)
    return found


def _alike_addresses(one: str, other: str) -> bool:
    """The same person's box at another provider, or one letter mistyped."""
    box, other_box = one.partition("@")[0], other.partition("@")[0]
    if box == other_box:
        return len(box) >= _LONG and not is_shared_box(one)
    letters = (one.translate(_NO_DIGITS), other.translate(_NO_DIGITS))  # jo1@ is not jo2@
    return letters[0] != letters[1] and damerau_levenshtein_distance(one, other) == 1
