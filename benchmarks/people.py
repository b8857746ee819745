"""Made-up persons, some of them entered twice by somebody else, with the errors that people make."""

import datetime as dt
from collections.abc import Iterator
from random import Random
from typing import Any

_SYLLABLES = [
    "al", "an", "ber", "bo", "bran", "car", "chi", "da", "dor", "el", "en", "fer", "fi", "gar", "go", "ha",
    "hol", "i", "ja", "jo", "ka", "kel", "la", "le", "lin", "ma", "mer", "mon", "na", "nor", "o", "pa", "per",
    "ra", "ri", "ro", "sa", "sen", "so", "ta", "ter", "to", "u", "va", "ver", "wil", "ya", "zan",
]  # fmt: skip
_STREETS = ["street", "road", "lane", "avenue", "close", "drive"]
_DOUBLES = 0.1
_REACHED = 0.5  # by e-mail; by phone
_FIELDS = (
    "given_name",
    "family_name",
    "birthday",
    "street",
    "postal_code",
    "locality",
    "email",
    "phone",
    "swap",
)

Values = dict[str, Any]


def people(count: int, seed: int = 1) -> Iterator[tuple[Values, int]]:
    """Persons in any order, and who each is: the same number is the same person, entered twice at most."""
    random = Random(seed)  # noqa: S311 - the same persons in every run
    given = [_name(random, 2) for _ in range(800)]
    family = [_name(random, 3) for _ in range(8_000)]
    places = [(_name(random, 3), f"{random.randrange(10_000, 99_999)}") for _ in range(2_000)]
    streets = [f"{_name(random, 3)} {random.choice(_STREETS)}" for _ in range(4_000)]
    waiting: list[tuple[Values, int]] = []
    number = made = 0
    while made < count:
        if waiting and (random.random() < _DOUBLES or made + len(waiting) >= count):
            made += 1
            yield waiting.pop(random.randrange(len(waiting)))
            continue
        locality, postal_code = random.choice(places)
        # As in life, some names are frequent: the squares of even chances.
        values: Values = {
            "given_name": given[int(random.random() ** 2 * len(given))],
            "family_name": family[int(random.random() ** 2 * len(family))],
            "birthday": dt.date(1930, 1, 1) + dt.timedelta(days=random.randrange(28_000)),
            "number": str(random.randrange(1, 150)),
            "street": random.choice(streets),
            "locality": locality,
            "postal_code": postal_code,
        }
        if random.random() < _REACHED:
            values["email"] = (
                f"{values['given_name']}.{values['family_name']}{random.randrange(10_000)}@mail.example"
            )
        if random.random() < _REACHED:
            values["phone"] = f"+4930{random.randrange(10_000_000, 99_999_999)}"
        number += 1
        made += 1
        if random.random() < _DOUBLES:
            waiting.append((_entered_again(random, values), number))
        yield values, number


def _entered_again(random: Random, values: Values) -> Values:
    """The same person with one to three fields misspelt, missing or in each other's place."""
    again = dict(values)
    for field in random.sample(_FIELDS, random.randint(1, 3)):
        value = again.get(field)
        if field == "swap":
            again["given_name"], again["family_name"] = again["family_name"], again["given_name"]
        elif field == "birthday" and value is not None:
            again[field] = random.choice(
                [None, value + dt.timedelta(days=random.choice([1, -1, 10]))]
            )
        elif value is not None:
            again[field] = random.choice([None, _misspelt(random, value), _misspelt(random, value)])
    if not again["given_name"] and not again["family_name"]:
        again["family_name"] = values["family_name"]
    return again


def _misspelt(random: Random, text: str) -> str:
    at = random.randrange(max(1, len(text) - 1))
    return random.choice([
        text[:at] + text[at + 1 :],
        text[:at] + text[at + 1 : at + 2] + text[at] + text[at + 2 :],
        text[:at] + random.choice("aeinrst") + text[at + 1 :],
    ])  # fmt: skip


def _name(random: Random, most: int) -> str:
    return "".join(random.choice(_SYLLABLES) for _ in range(random.randint(2, most))).capitalize()
