"""How likely two records are the same: what makes duplicates, and what never does."""

from datetime import date
from itertools import combinations
from random import Random
from typing import Any
from uuid import UUID, uuid4

import pytest

from crmkit.clock import now
from customer.domain.account import Account
from customer.domain.blocking import blocks_of
from customer.domain.contact import Contact
from customer.domain.likeness import compare
from customer.domain.profile import Place, Profile, of_account, of_contact
from customer.domain.values import Address, EmailAddress, PhoneNumber

HOME = Place("12", "lindenweg", "", "berlin", "10115", "DE")
BORN = date(1980, 5, 17)


def person(given: str = "", family: str = "", **more: Any) -> Profile:
    return Profile(
        id=uuid4(), name=(*given.split(), *family.split()), given=given, family=family, **more
    )


def score(one: Profile, other: Profile, *shared: str) -> float:
    return compare(one, other, frozenset(shared)).score


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("jonathan", "miller", birthday=BORN), person("jonathan", "miller", birthday=BORN)),
        (person("jonathan", "miller", birthday=BORN), person("millar", "jonathan", birthday=BORN)),
        (
            person("ada", "brown", birthday=BORN, places=(HOME,)),
            person("ada", "brown", birthday=date(1980, 5, 18), places=(HOME,)),
        ),
        (person("ada", "brown", places=(HOME,)), person("ada", "braun", places=(HOME,))),
        (
            person("ada", "brown", phones=frozenset({"+1"})),
            person("ada", "brown", phones=frozenset({"+1"})),
        ),
        (person(emails=frozenset({"ada@b.example"})), person(emails=frozenset({"ada@b.example"}))),
        (person("三", "张", birthday=BORN), person("三", "张", birthday=BORN)),
        (person("жанна", "юрьева", birthday=BORN), person("жанна", "юрева", birthday=BORN)),
    ],
)
def test_slips_and_swaps_leave_duplicates_duplicates(one: Profile, other: Profile) -> None:
    """Names and one good piece of evidence are enough; so is a person's own e-mail address."""
    assert compare(one, other).is_duplicate
    assert blocks_of(one) & blocks_of(other)


FAMILY = {
    "emails": frozenset({"us@home.example"}),
    "phones": frozenset({"+493090"}),
    "places": (HOME,),
}


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (person("john", "smith"), person("john", "smith")),
        (
            person("john", "smith", places=(Place("1", "a street", "", "leeds", "ls1", "GB"),)),
            person("john", "smith", places=(Place("9", "other road", "", "leeds", "ls1", "GB"),)),
        ),
        (person("peter", "sommer", **FAMILY), person("petra", "sommer", **FAMILY)),
        (person("peter", "sommer", **FAMILY), person("annika", "sommer", **FAMILY)),
        (person("peter", "sommer", **FAMILY), person("annika", "winter", **FAMILY)),
        (
            person("ada", "brown", emails=frozenset({"info@firm.example"})),
            person("max", "green", emails=frozenset({"info@firm.example"})),
        ),
        (person(phones=frozenset({"+493090"})), person(phones=frozenset({"+493090"}))),
        (person("ada", "brown", birthday=BORN), person("max", "green", birthday=BORN)),
        (person(), person()),
    ],
)
def test_hints_make_no_duplicates(one: Profile, other: Profile) -> None:
    """INVARIANT: never the name alone, nor what a home, an office or a birthday has in common."""
    assert not compare(one, other).is_duplicate


def test_what_many_records_are_reached_by_is_a_hint_only() -> None:
    """An address that four records have proves nothing, whatever it is called."""
    one, other = (person(emails=frozenset({"desk7@firm.example"})) for _ in range(2))
    assert score(one, other) > 0.9
    assert score(one, other, "desk7@firm.example") < 0.1


def test_comparing_is_the_same_in_both_directions() -> None:
    """INVARIANT: it does not matter which record was there first."""
    people = list(_people(Random(4), 60))
    for one, other in combinations(people, 2):
        assert compare(one, other).score == pytest.approx(compare(other, one).score)
        assert 0.0 <= compare(one, other).score <= 1.0


def test_firms_are_known_by_more_than_their_name() -> None:
    """Legal forms do not tell firms apart; a subsidiary shares everything but its name."""

    def firm(name: str, **more: Any) -> Profile:
        return of_account(_account(display_name=name, **more))

    domain = {"domains": ["acme.example"]}
    assert compare(firm("Acme GmbH", **domain), firm("ACME AG", **domain)).is_duplicate
    assert not compare(firm("Acme GmbH"), firm("Acme GmbH")).is_duplicate
    assert not compare(firm("Acme Energy", **domain), firm("Acme GmbH", **domain)).is_duplicate
    gmail = {"emails": [EmailAddress("acme1@gmail.com")]}
    other = {"emails": [EmailAddress("acme2@gmail.com")]}
    assert not compare(firm("Acme", **gmail), firm("Acme", **other)).is_duplicate


def test_a_record_is_compared_as_it_is_written() -> None:
    """Case, accents, spaces and the place of the house number do not matter; numbers must be numbers."""
    contact = _contact(
        display_name="Zoë Müller-Lüdenscheidt",
        emails=[EmailAddress("zoe@home.example")],
        phones=[PhoneNumber("+49301234567"), PhoneNumber("ask the office")],
        addresses=[
            Address(
                address_lines=["Haus Sonne", "Lindenweg 12 a"],
                postal_code="D 10115",
                locality="Berlin",
            )
        ],
    )
    profile = of_contact(contact)
    assert (profile.given, profile.family) == ("zoe muller", "ludenscheidt")
    assert profile.phones == {"+49301234567"}
    assert profile.places == (Place("12", "haus sonne", "lindenweg a", "berlin", "d10115", ""),)
    nameless = of_contact(_contact(display_name="zoe@home.example"))
    assert (nameless.name, nameless.family) == ((), "")


def test_people_with_slips_are_told_from_others() -> None:
    """Of made-up people with errors: hardly one pair is called a duplicate wrongly, and few are missed."""
    random = Random(7)
    people = list(_people(random, 400))
    doubles = {double.id: person.id for person in people if (double := _with_slips(random, person))}
    records = [*people, *(_DOUBLES[id_] for id_ in doubles)]
    true = {frozenset(pair) for pair in doubles.items()}
    near: dict[int, list[Profile]] = {}
    for record in records:
        for block in blocks_of(record):
            near.setdefault(block, []).append(record)
    compared = {
        frozenset((one.id, other.id)): (one, other)
        for block in near.values()
        for one, other in combinations(block, 2)
    }
    found = {pair for pair, (one, other) in compared.items() if compare(one, other).is_duplicate}
    assert len(found & true) / len(found) >= 0.99
    assert len(found & true) / len(true) >= 0.95
    assert len(compared) < 20 * len(records)


_GIVEN = [
    "anna", "ben", "clara", "david", "elena", "felix", "greta", "hugo", "ines", "jonas", "karla",
    "leon", "mara", "nils", "olga", "paul", "rosa", "theo",
]  # fmt: skip
_ENDS = [
    "berg", "brook", "dale", "field", "ford", "ham", "hurst", "ley", "man", "stone", "ton", "well",
    "wood", "worth",
]  # fmt: skip
_STARTS = [
    "ald", "bar", "cart", "don", "ellis", "fen", "gar", "har", "kirk", "lang", "mor", "nor", "pem",
    "rad", "sher", "thorn", "ulver", "wal",
]  # fmt: skip
_DOUBLES: dict[UUID, Profile] = {}


def _people(random: Random, count: int) -> Any:
    for _ in range(count):
        place = Place(
            str(random.randint(1, 200)), f"{random.choice(_STARTS)}{random.choice(_ENDS)} road", "",
            f"{random.choice(_STARTS)}{random.choice(_ENDS)}", str(random.randint(10000, 99999)), "",
        )  # fmt: skip
        born = date.fromordinal(random.randint(700000, 730000))
        family = random.choice(_STARTS) + random.choice(_ENDS)
        yield person(random.choice(_GIVEN), family, birthday=born, places=(place,))


def _with_slips(random: Random, one: Profile) -> Profile:
    """The same person as somebody else has typed them: up to three fields are misspelt or missing."""
    values: dict[str, Any] = {"given": one.given, "family": one.family, "birthday": one.birthday}
    place = one.places[0]
    for field in random.sample(["given", "family", "birthday", "street", "swap"], 3):
        match field:
            case "given" | "family":
                values[field] = _slip(random, values[field])
            case "birthday":
                values[field] = None if random.random() < 0.5 else one.birthday
            case "street":
                place = Place(
                    place.number,
                    _slip(random, place.street),
                    "",
                    place.locality,
                    place.postal_code,
                    "",
                )
            case _ if random.random() < 0.3:
                values["given"], values["family"] = values["family"], values["given"]
    double = person(values.pop("given"), values.pop("family"), **values, places=(place,))
    _DOUBLES[double.id] = double
    return double


def _slip(random: Random, word: str) -> str:
    at = random.randrange(len(word) - 1)
    dropped, swapped = (
        word[:at] + word[at + 1 :],
        word[:at] + word[at + 1] + word[at] + word[at + 2 :],
    )
    return random.choice([dropped, swapped])


def _contact(**values: Any) -> Contact:
    return Contact(id=uuid4(), create_time=now(), update_time=now(), **values)


def _account(**values: Any) -> Account:
    return Account(id=uuid4(), create_time=now(), update_time=now(), **values)
