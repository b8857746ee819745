"""Absences: times that make sense, and deputies who do not lead back."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from identity.domain.absence import Absence, check_chain, check_times
from identity.domain.user import User

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
_DAY = timedelta(days=1)


def absence(start: int, end: int, deputy: UUID | None = None) -> Absence:
    return Absence(start_time=NOW + start * _DAY, end_time=NOW + end * _DAY, deputy=deputy)


def user(**values: Any) -> User:
    fields = {"email": "a@b", "display_name": "A", "create_time": NOW, "update_time": NOW, **values}
    return User(id=uuid7(), **fields)


@pytest.mark.parametrize("times", [(-1, 1), (0, 366), (5, 6)])
def test_times_that_make_sense(times: tuple[int, int]) -> None:
    check_times(absence(*times), NOW)


@pytest.mark.parametrize("times", [(1, 1), (2, 1), (-2, -1), (-1, 0), (0, 367)])
def test_times_that_do_not(times: tuple[int, int]) -> None:
    with pytest.raises(InvalidArgument) as refused:
        check_times(absence(*times), NOW)
    assert refused.value.violations[0].field == "absence.end_time"


@pytest.mark.parametrize(
    ("other", "expected"),
    [((0, 1), True), ((1, 2), True), ((-5, 9), True), ((2, 3), False), ((-1, 0), False)],
)
def test_absences_overlap_or_not(other: tuple[int, int], expected: bool) -> None:  # noqa: FBT001
    assert absence(0, 2).overlaps(absence(*other)) is expected


def test_nobody_stands_in_for_themselves() -> None:
    """And whoever is back was away no longer, once."""
    ada = user()
    with pytest.raises(InvalidArgument):
        ada.be_away(absence(0, 1, ada.id))
    ada.be_back()
    assert (ada.absence, ada.events) == (None, [])
    ada.be_away(absence(0, 1))
    ada.be_back()
    assert [event.kind for event in ada.events] == ["absence_set", "absence_cleared"]


def test_deputies_who_lead_back_or_too_far_are_refused() -> None:
    """INVARIANT: a chain has an end, and is short."""
    ada, ben, eve = user(), user(), user()
    check_chain(ada.id, [ben, eve])
    for chain in ([ben, ada], [ben, eve, ben], [user() for _ in range(6)]):
        with pytest.raises(FailedPrecondition) as refused:
            check_chain(ada.id, chain)
        assert refused.value.reason == "DEPUTY_CIRCLE"


@pytest.mark.parametrize(
    "values", [{"state": "DEACTIVATED"}, {"delete_time": NOW}, {"kind": "SERVICE"}]
)
def test_a_deputy_is_a_person_who_may_sign_in(values: dict[str, Any]) -> None:
    with pytest.raises(FailedPrecondition) as refused:
        check_chain(uuid7(), [user(**values)])
    assert refused.value.reason == "DEPUTY_NOT_ACTIVE"
