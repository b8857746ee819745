"""Names: shown and sorted as people of their script expect."""

import pytest

from crmkit.clock import now
from crmkit.ids import uuid7
from customer.domain.contact import Contact
from customer.domain.names import firm_key, full_name, person_key


def contact(**values: str | None) -> Contact:
    made = Contact(id=uuid7(), create_time=now(), update_time=now(), **values)
    made.check()
    return made


@pytest.mark.parametrize(
    ("given", "family", "shown", "sorted_by"),
    [
        ("三", "张", "张三", "zhang san"),
        ("雄信", "单", "单雄信", "shan xiong xin"),
        ("修", "欧阳", "欧阳修", "ou yang xiu"),
        ("민수", "김", "김민수", "김 민수"),
        ("さくら", "ささき", "ささきさくら", "ささき さくら"),
        ("ジョン", "スミス", "ジョン スミス", "スミス ション"),
        ("Zoë", "Müller", "Zoë Müller", "muller zoe"),
        ("Łukasz", "Øster", "Łukasz Øster", "oster lukasz"),
        ("Wei", "张", "Wei 张", "zhang wei"),
        ("Madonna", None, "Madonna", "madonna"),
        (None, "仇", "仇", "qiu"),
    ],
)
def test_a_name_is_shown_in_the_order_of_its_script(
    given: str | None, family: str | None, shown: str, sorted_by: str
) -> None:
    """Nobody needs two names; Chinese ones are sorted by pinyin, surnames as they are read."""
    person = contact(given_name=given, family_name=family)
    assert (person.display_name, person.sort_name) == (shown, sorted_by)


@pytest.mark.parametrize(
    ("name", "sorted_by"),
    [
        ("曾国藩", "zeng guo fan"),
        ("尉迟恭", "yu chi gong"),
        ("诸葛亮", "zhu ge liang"),
        ("任我行", "ren wo xing"),
        ("  Ada   Lovelace ", "ada lovelace"),
        ("\uff21\uff23\uff2d\uff25", "acme"),
        ("STRASSE straße", "strasse strasse"),
    ],
)
def test_a_name_in_one_piece_is_read_with_its_surname_first(name: str, sorted_by: str) -> None:
    """The special reading of a surname counts where a name begins with it."""
    assert person_key(name, None, None) == sorted_by


def test_a_firm_is_read_as_words() -> None:
    """行 is `hang` in a bank; 单 is no surname here."""
    assert firm_key("中国银行") == "zhong guo yin hang"
    assert firm_key("单位") == "dan wei"


def test_a_key_is_short_enough_for_an_index() -> None:
    """A B-tree takes no row of more than 2,704 bytes."""
    assert len((firm_key("张" * 300) or "").encode()) <= 300


def test_a_name_that_was_made_from_others_is_made_anew() -> None:
    """One that somebody wrote stays."""
    before = contact(given_name="Ada", family_name="King")
    after = contact(given_name="Ada", family_name="Lovelace", display_name="Ada King")
    after.follow(before)
    assert (after.display_name, after.sort_name) == ("Ada Lovelace", "lovelace ada")
    chosen = contact(given_name="Ada", family_name="King", display_name="Countess")
    renamed = contact(given_name="Ada", family_name="Lovelace", display_name="Countess")
    renamed.follow(chosen)
    assert renamed.display_name == "Countess"
    assert full_name(None, None) == ""
