"""What a record is searched as, what a query means, and what is highlighted."""

# ruff: noqa: RUF001 - letters that look like others are what is tested

import pytest

from crmkit.clock import now
from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from customer.domain.account import Account
from customer.domain.contact import Contact
from customer.domain.search_entry import Text, entry_of, texts_of
from customer.domain.search_matches import explain
from customer.domain.search_query import Word, misspellings, parse_query
from customer.domain.spelling import compact, digits_to_dial, spellings, words


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Müller & Söhne GmbH", ["muller", "sohne", "gmbh"]),
        ("Mu\u0308ller", ["muller"]),
        ("O'Brien O’Brien", ["obrien", "obrien"]),
        ("北京ABC公司", ["北京", "abc", "公司"]),
        ("１２３ ٤٥", ["123", "45"]),
        ("محمد \u200fعلي", ["محمد", "علي"]),
        ("%_*\\ --", []),
        ("a" * 60, ["a" * 40]),
    ],
)
def test_words_are_what_remains_of_a_text_when_accents_signs_and_width_are_gone(
    text: str, expected: list[str]
) -> None:
    assert words(text) == expected


@pytest.mark.parametrize("text", ["Acme Tools-4 (EU) 'x' O'Neil", "  ", "A.B.C", "a_b", "\x7f~"])
def test_the_quick_way_for_ascii_is_the_same_as_the_other(text: str) -> None:
    """INVARIANT: a letter of another script in a text changes nothing of the rest."""
    assert [*words(text), "ж"] == words(f"{text} ж")
    assert compact(text) + "ж" == compact(f"{text} ж")


def test_letters_that_some_write_as_two_have_both_spellings() -> None:
    assert [words(s) for s in spellings("Größe Jürgen")] == [
        ["grosse", "jurgen"],
        ["groesse", "juergen"],
    ]
    assert spellings("Mu\u0308ller") == ["Mu\u0308ller", "Mueller"]
    assert spellings("Jose") == ["Jose"]


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        ("+49 (0)30 1234", "49301234"),
        ("0049-30-1234", "49301234"),
        ("030/1234", "301234"),
        ("４９", ""),
        ("12 monkeys", ""),
        ("000", ""),
    ],
)
def test_a_number_is_its_digits_without_what_is_dialled_before_it(typed: str, digits: str) -> None:
    assert digits_to_dial(typed) == digits


def contact(**fields: object) -> Contact:
    made = Contact(id=uuid7(), create_time=now(), update_time=now(), **fields)  # type: ignore[arg-type]
    made.check()
    return made


def test_a_sensitive_field_is_in_no_words() -> None:
    """INVARIANT: words do not say of which field they are: nothing that is hidden from some is among them."""
    account = Account(
        id=uuid7(), create_time=now(), update_time=now(), display_name="Plain", legal_name="Secret Inc"
    )  # fmt: skip
    account.check()
    assert "secret" in entry_of(account, frozenset()).words
    hidden = entry_of(account, frozenset({"legal_name"}))
    assert "secret" not in hidden.words | hidden.taught
    assert ("legal_name", "secretinc") in hidden.keys


def test_a_chinese_name_is_searched_by_characters_pinyin_and_initials() -> None:
    entry = entry_of(contact(display_name="单雄信"), frozenset())
    assert {"单雄", "雄信", "信", "shan", "xiong", "xin", "xiongxin"} <= entry.words
    keys = {key for _, key in entry.keys}
    assert {"单雄信", "shanxiongxin", "sxx"} <= keys


def test_a_record_of_any_size_has_an_entry_of_a_bounded_one() -> None:
    long = " ".join(f"w{n}" for n in range(400))
    entry = entry_of(contact(display_name="x", addresses=[]), frozenset())
    assert entry.words == {"x"}
    person = contact(display_name=long)
    assert len(entry_of(person, frozenset()).words) == 100
    assert max(len(key) for _, key in entry_of(person, frozenset()).keys) == 100


@pytest.mark.parametrize("text", ["", " ", "\u3000\u200b", "\x00", "a\u202eb"])
def test_a_query_has_something_to_look_for(text: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        parse_query(text, "")
    assert [violation.field for violation in refused.value.violations] == ["query"]


def test_a_query_is_read_as_a_number_of_the_region_too() -> None:
    assert "74951234567" in parse_query("8 (495) 123-45-67", "RU").keys
    assert "493012345678" in parse_query("030 12345678", "DE").keys


@pytest.mark.parametrize(
    ("typed", "meant", "slips"),
    [
        ("jhon", "john", 1), ("jon", "john", 1), ("jon", "jan", None), ("smyth", "smith", 1),
        ("smxxh", "smith", None), ("schmitd", "schmidtmann", 1), ("papadopulso", "papadopoulos", 2),
        ("john", "john", None),
    ],
)  # fmt: skip
def test_a_slip_is_forgiven_where_the_word_is_long_enough(
    typed: str, meant: str, slips: int | None
) -> None:
    found = misspellings(Word((typed,), is_unspaced=False), [meant])
    assert found.get(meant) == slips


@pytest.mark.parametrize(
    ("query", "value", "kind", "highlights"),
    [
        ("smith j", "John Smith", "NAME", ((0, 1), (5, 5))),
        ("müll", "Anna Müller", "NAME", ((5, 4),)),
        ("三丰", "张三丰", "NAME", ((1, 2),)),
        ("030 1234", "+493012345678", "PHONE", ((3, 6),)),
        ("j.sm", "j.smith@acme.example", "EMAIL", ((0, 4),)),
        ("4711b", "K-4711/B", "CODE", None),
        ("k4711", "K-4711/B", "CODE", ((0, 6),)),
    ],
)
def test_what_answers_the_query_is_highlighted(
    query: str, value: str, kind: str, highlights: tuple[tuple[int, int], ...] | None
) -> None:
    found = explain(parse_query(query, ""), [Text("field", kind, value)], {}, "")
    assert [match.highlights for match in found] == ([highlights] if highlights else [])


def test_a_name_found_by_its_sound_is_shown_without_highlights() -> None:
    person = contact(display_name="张三")
    (match,) = explain(parse_query("zs", ""), list(texts_of(person)), {}, person.sort_name or "")
    assert (match.field, match.value, match.highlights) == ("display_name", "张三", ())
