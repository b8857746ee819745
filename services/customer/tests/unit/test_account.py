"""Accounts: grades, credit, and what is kept of what people type."""

import pytest

from crmkit.clock import now
from crmkit.errors import Failure, InvalidArgument
from crmkit.ids import uuid7
from crmkit.money import Money
from customer.domain.account import Account, Credit


def account(**values: object) -> Account:
    made = Account(
        id=uuid7(), create_time=now(), update_time=now(), **{"display_name": "Acme", **values}
    )
    made.check()
    return made


@pytest.mark.parametrize(
    ("had", "grade", "source", "refused"),
    [
        (None, "A", "MANUAL", ""),
        (None, "A", "SCORE", ""),
        (None, "VIP", "MANUAL", ""),
        (None, "VIP", "SCORE", "INVALID_FIELD"),
        ("SCORE", "B", "SCORE", ""),
        ("SCORE", "B", "MANUAL", ""),
        ("MANUAL", "B", "MANUAL", ""),
        ("MANUAL", "B", "SCORE", "GRADED_BY_HAND"),
        ("MANUAL", None, "MANUAL", ""),
        ("SCORE", None, "SCORE", ""),
        ("MANUAL", None, "SCORE", "GRADED_BY_HAND"),
    ],
)
def test_a_score_does_not_change_what_a_person_said(
    had: str | None, grade: str | None, source: str, refused: str
) -> None:
    """Every case: who graded before, who does now, and with what."""
    graded = account()
    if had:
        graded.grade_as("C", had, None)
    if refused:
        with pytest.raises(Failure) as failure:
            graded.grade_as(grade, source, None)
        assert failure.value.reason == refused
        return
    graded.grade_as(grade, source, "why")
    assert (graded.grade, graded.grade_source) == (grade, source if grade else None)


def test_the_same_grade_again_is_nothing_new() -> None:
    """INVARIANT: an event says that something happened."""
    graded = account()
    for _ in range(2):
        graded.grade_as("A", "MANUAL", "big")
    assert [event.kind for event in graded.events] == ["graded"]


def test_a_credit_limit_is_not_below_nothing() -> None:
    """0 is a limit: nothing may be owed; None is none."""
    decided = account()
    for amount in (0, 5000):
        limit = Money.from_units_nanos(amount, 0, "EUR", "credit_limit")
        decided.decide_credit(
            Credit(credit_class="A", state="OK", limit=limit, review_date=None, reason="asked")
        )
        assert decided.credit_limit == limit
    below = Money.from_units_nanos(-1, 0, "EUR", "credit_limit")
    with pytest.raises(InvalidArgument) as refused:
        decided.decide_credit(
            Credit(credit_class=None, state="OK", limit=below, review_date=None, reason="x")
        )
    assert refused.value.violations[0].field == "credit_limit"


def test_domains_are_kept_bare_and_once() -> None:
    """Whatever people paste."""
    pasted = [
        "https://www.Acme.example/about",
        "acme.example",
        "info@ACME.example",
        "bücher.example:8080",
    ]
    assert account(domains=pasted).domains == ["acme.example", "bücher.example"]


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"domains": ["acme"]}, "account.domains[0]"),
        ({"domains": ["a.example", "a b.example"]}, "account.domains[1]"),
        ({"quiet_hours_start": "22:00"}, "account.quiet_hours_end"),
        ({"quiet_hours_end": "22:00"}, "account.quiet_hours_start"),
        ({"time_zone": "Berlin"}, "account.time_zone"),
        ({"language_code": "german!"}, "account.language_code"),
    ],
)
def test_what_cannot_be_is_refused(values: dict[str, object], field: str) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidArgument) as refused:
        account(**values)
    assert refused.value.violations[0].field == field


def test_less_is_expected_of_a_private_person() -> None:
    """Completeness is the share of what is expected that is there."""
    firm, person = account(), account(kind="PERSON")
    assert (firm.completeness, len(firm.missing_fields)) == (0, 7)
    assert (person.completeness, len(person.missing_fields)) == (0, 5)
    firm = account(industry="retail", employee_count=0, domains=["acme.example"], owner=uuid7())
    assert (firm.completeness, firm.missing_fields) == (57, ["emails", "phones", "addresses"])


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ("www.acme.example", "https://www.acme.example"),
        ("acme.example/about", "https://acme.example/about"),
        ("http://acme.example", "http://acme.example"),
    ],
)
def test_a_website_may_be_typed_without_its_scheme(typed: str, kept: str) -> None:
    """What stands on business cards is kept as a link."""
    assert account(website=typed).website == kept
