"""Contacts that nobody is, the same for the same seed, with names as frequent as names are."""

import random
from collections.abc import Iterator
from itertools import accumulate
from uuid import UUID

from crmkit.clock import now
from crmkit.ids import uuid7
from customer.domain.contact import Contact
from customer.domain.names import person_key
from customer.domain.values import Address, EmailAddress, PhoneNumber

SEED = 20261125
_GIVEN = [
    "John", "Maria", "Anna", "Peter", "Thomas", "Michael", "Laura", "Julia", "Daniel", "Sofia",
    "Paul", "Emma", "Lucas", "Hannah", "David", "Sarah", "Martin", "Eva", "Jan", "Olga", "Ivan",
    "Fatima", "Omar", "Aisha", "Carlos", "Lucia", "Pedro", "Ana", "Marco", "Giulia", "Pierre",
    "Claire", "Jean", "Camille", "Lars", "Ingrid", "Erik", "Astrid", "Jürgen", "Jörg", "Sören",
    "Zoë", "Chloé", "René", "José", "Nikos", "Elena", "Dmitri", "Svetlana", "Kenji", "Yuki",
    "Haruto", "Sakura", "Minjun", "Seoyeon", "Raj", "Priya",
]  # fmt: skip
_CHINESE_FAMILY = "王李张刘陈杨赵黄周吴徐孙胡朱高林何郭马罗单解仇区曾"
_CHINESE_GIVEN = "伟芳娜敏静丽强磊军洋勇艳杰娟涛明超秀霞平刚桂英华玉兰丰山海云"
_ONSETS = [
    "b", "br", "ch", "d", "f", "fr", "g", "gr", "h", "j", "k", "kl", "kr", "l", "m", "n", "p", "pf",
    "r", "s", "sch", "schm", "st", "t", "tr", "v", "w", "z",
]  # fmt: skip
_VOWELS = [
    "a", "e", "i", "o", "u", "au", "ei", "ie", "ü", "ö",
]  # fmt: skip
_CODAS = [
    "ck", "ff", "hl", "hn", "ld", "ll", "lz", "m", "n", "nn", "nd", "ng", "r", "rg", "rs", "rt",
    "s", "ss", "t", "tz", "x",
]  # fmt: skip
_ENDINGS = [
    "er", "mann", "ski", "son", "sen", "berg", "stein", "feld", "a", "o", "ez", "ini", "",
]  # fmt: skip
_CITIES = [
    "Berlin", "Hamburg", "München", "Köln", "Wien", "Zürich", "Paris", "Lyon", "Milano", "Madrid",
    "London", "Leeds", "Oslo", "Gdańsk", "Praha", "Łódź",
]  # fmt: skip
_PROVIDERS = ["mail.example", "post.example", "box.example"]


class People:
    """Makes contacts; `family_names` of them share names by Zipf's law."""

    def __init__(self, seed: int = SEED, *, family_names: int = 60_000) -> None:
        self._random = random.Random(seed)  # noqa: S311 - nothing secret
        names = {self._family_name() for _ in range(family_names)}
        self._family = sorted(names)
        self._random.shuffle(self._family)
        self._family_weights = list(accumulate(1 / (n + 20) for n in range(len(self._family))))
        self._given_weights = list(accumulate(1 / (n + 3) for n in range(len(_GIVEN))))

    def _family_name(self) -> str:
        pick = self._random.choice
        name = "".join(pick(_ONSETS) + pick(_VOWELS) for _ in range(pick((1, 1, 2))))
        return (name + pick(_CODAS) + pick(_ENDINGS)).capitalize()

    def some(
        self, count: int, owners: list[tuple[UUID, UUID]], *, first: int = 0
    ) -> Iterator[Contact]:
        """So many contacts; they belong to the owners in turns, each with a team."""
        chance, time = self._random, now()
        for number in range(first, first + count):
            owner, team = owners[number % len(owners)]
            if chance.random() < 0.05:  # noqa: PLR2004 - every twentieth
                given = "".join(chance.choices(_CHINESE_GIVEN, k=chance.choice((1, 2))))
                family = chance.choice(_CHINESE_FAMILY)
                shown, local = family + given, f"user{number}"
            else:
                given = chance.choices(_GIVEN, cum_weights=self._given_weights)[0]
                family = chance.choices(self._family, cum_weights=self._family_weights)[0]
                shown, local = f"{given} {family}", f"{given}.{family}{number}".lower()
            city = chance.choice(_CITIES)
            yield Contact(
                id=uuid7(), create_time=time, update_time=time, owner=owner, team=team,
                external_id=f"E-{number:08}",
                given_name=given, family_name=family, display_name=shown,
                sort_name=person_key(shown, given, family),
                emails=[EmailAddress(f"{local}@{chance.choice(_PROVIDERS)}", primary=True)],
                phones=[PhoneNumber(f"+4930{chance.randrange(10**7, 10**8)}", region_code="DE")],
                addresses=[Address(locality=city, postal_code=f"{chance.randrange(10**4, 10**5)}")],
            )  # fmt: skip
