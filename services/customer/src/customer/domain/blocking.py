"""Which records are compared at all: those that have a block in common.

A block holds what sounds, was born, lives or is reached alike; misspelling one field leaves the blocks of
the others. Blocks are kept as numbers of 64 bits, which tell nothing of a person.
"""

from collections.abc import Iterator
from hashlib import blake2b

from jellyfish import metaphone

from customer.domain.likeness import is_shared_box
from customer.domain.profile import Profile

_STREET_SOUND, _PLACE_SOUND = 5, 3  # letters
_LONG_BOX = 8  # letters from which what stands before the @ says something


def blocks_of(profile: Profile) -> frozenset[int]:
    """The blocks that a record is in."""
    return frozenset(number_of(profile.firm, text) for text in _blocks(profile))


def reach_block(firm: bool, value: str) -> int:  # noqa: FBT001
    """The block of an e-mail address or a phone number."""
    return number_of(firm, f"reach {value}")


def number_of(firm: bool, text: str) -> int:  # noqa: FBT001
    """The number of a block."""
    digest = blake2b(f"{'firm' if firm else 'person'} {text}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, signed=True)


def _blocks(profile: Profile) -> Iterator[str]:
    for value in profile.emails | profile.phones:
        yield f"reach {value}"
    for email in profile.emails:
        box = email.partition("@")[0]
        if len(box) >= _LONG_BOX and not is_shared_box(email):
            yield f"box {box}"
    yield from _homes(profile)
    if profile.firm:
        yield from (f"domain {domain}" for domain in profile.domains)
        if profile.tax_id:
            yield f"tax {profile.tax_id}"
    sounds = [_sound(word) for word in (profile.given, profile.family) if word]
    if profile.firm:
        sounds = [_sound(word) for word in profile.name[:2]]
    if profile.birthday is not None:  # a day alone has more people the more there are
        yield from (f"born {profile.birthday} {sound[:1]}" for sound in sounds)
    if sounds:
        yield f"name {' '.join(sorted(sounds))}"
    for sound in sounds:
        yield from (f"employed {account} {sound}" for account in profile.accounts)


def _homes(profile: Profile) -> Iterator[str]:
    """Where somebody lives, and under which name there."""
    names = profile.name[:1] if profile.firm else (profile.given, profile.family)
    for place in profile.places:
        locality = _sound(place.locality)[:_PLACE_SOUND]
        for street in (place.street, place.more):
            if street and place.number:
                yield f"house {place.number} {_sound(street)[:_STREET_SOUND]} {locality}"
        for sound in {_sound(name) for name in names if name}:
            if place.postal_code:
                yield f"at {place.postal_code} {sound}"
            if locality and place.street:
                yield f"in {locality} {_sound(place.street)[:_STREET_SOUND]} {sound}"


def _sound(text: str) -> str:
    """What a word sounds like in English; words of other scripts as they are."""
    return metaphone(text) or text
