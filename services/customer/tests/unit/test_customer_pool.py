"""What pools take and when, and who may have how much of it."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from customer.domain.account import Account
from customer.domain.customer_pool import CustomerPool, Touches
from customer.domain.pooled import POOL

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
OWNED = NOW - timedelta(days=100)


def days(count: float) -> timedelta:
    return timedelta(days=count)


def pool(**values: Any) -> CustomerPool:
    made = CustomerPool(
        id=uuid7(), create_time=NOW, update_time=NOW, **{"display_name": "East", **values}
    )
    made.check()
    return made


def account(**values: Any) -> Account:
    return Account(
        id=uuid7(), create_time=OWNED, update_time=OWNED, **{"display_name": "Acme", **values}
    )


# -- the table


@pytest.mark.parametrize("cell", list(POOL.cells()), ids=str)
def test_every_cell_of_the_table(cell: Cell) -> None:
    """INVARIANT: what is in a pool belongs to nobody; what is claimed or released twice is refused."""
    owner, claimant = uuid7(), uuid7()
    record = account(owner=owner) if cell.state == "OWNED" else account(pool=uuid7())
    if cell.target is None:
        with pytest.raises(FailedPrecondition) as refused:
            _act(record, cell.method, claimant)
        assert refused.value.reason == "ILLEGAL_TRANSITION"
        assert refused.value.metadata["state"] == cell.state
        return
    _act(record, cell.method, claimant)
    assert record.pool_state == cell.target
    assert record.owner == (None if cell.target == "IN_POOL" else claimant)


def _act(record: Account, method: str, claimant: UUID) -> None:
    if method == "claim":
        record.claim(claimant)
    else:
        record.release(uuid7(), NOW)


def test_whoever_gets_it_otherwise_takes_it_out_of_the_pool() -> None:
    """A manager gives it to somebody: it is in no pool, was claimed from none, is announced to none."""
    before, after = account(pool=uuid7(), pool_time=NOW), account(owner=uuid7())
    after.pool, after.pool_time = before.pool, before.pool_time
    after.follow_owner(before)
    assert (after.pool, after.pool_time) == (None, None)
    claimed = account(owner=uuid7(), claim_pool=uuid7(), reclaim_pool=uuid7(), reclaim_time=NOW)
    given = account(owner=uuid7(), claim_pool=claimed.claim_pool, reclaim_pool=claimed.reclaim_pool)
    given.follow_owner(claimed)
    assert (given.claim_pool, given.reclaim_pool, given.reclaim_time) == (None, None, None)
    kept = account(owner=claimed.owner, claim_pool=claimed.claim_pool)
    kept.follow_owner(claimed)
    assert kept.claim_pool == claimed.claim_pool


# -- rules


@pytest.mark.parametrize(
    ("rules", "touches", "due"),
    [
        ({}, Touches(OWNED), None),
        ({"days_without_interaction": 30}, Touches(OWNED), OWNED + days(30)),
        ({"days_without_interaction": 30}, Touches(OWNED, OWNED - days(9)), OWNED + days(30)),
        ({"days_without_interaction": 30}, Touches(OWNED, NOW), NOW + days(30)),
        ({"days_without_interaction": 30}, Touches(OWNED, None, NOW), OWNED + days(30)),
        ({"days_without_opportunity": 60}, Touches(OWNED, NOW), OWNED + days(60)),
        ({"days_without_opportunity": 60}, Touches(OWNED, None, NOW), NOW + days(60)),
        (
            {"days_without_interaction": 30, "days_without_opportunity": 60},
            Touches(OWNED, NOW, OWNED),
            OWNED + days(60),
        ),
    ],
)
def test_the_first_rule_that_is_broken_counts(
    rules: dict[str, int], touches: Touches, due: datetime | None
) -> None:
    """Each by what it is about, and by nothing before the owner had it."""
    assert pool(**rules).due_time(None, touches) == due


def test_exempt_grades_are_not_taken() -> None:
    east = pool(days_without_interaction=30, exempt_grades=["VIP", "A", "VIP"])
    assert east.exempt_grades == ["VIP", "A"]
    assert east.due_time("VIP", Touches(OWNED)) is None
    assert east.due_time("B", Touches(OWNED)) == OWNED + days(30)
    assert east.due_time(None, Touches(OWNED)) == OWNED + days(30)


@pytest.mark.parametrize("field", ["days_without_interaction", "days_without_opportunity"])
def test_nobody_is_warned_before_a_rule_can_be_broken(field: str) -> None:
    """The field at fault is named; without a word three days are."""
    assert pool().warning_days == 3
    assert pool(**{field: 4}).warning_days == 3
    with pytest.raises(InvalidArgument) as refused:
        pool(**{field: 3})
    assert refused.value.violations[0].field == f"customer_pool.{field}"


def test_a_pool_is_open_to_its_teams_and_those_below() -> None:
    """`is_open_to` gets a person's team and those above it; a pool without teams is everybody's."""
    sales, east = uuid7(), uuid7()
    assert pool(teams=[sales]).is_open_to([east, sales])
    assert not pool(teams=[east]).is_open_to([sales])
    assert not pool(teams=[east]).is_open_to([])
    assert pool().is_open_to([])


# -- announcing


def test_nothing_is_taken_that_was_not_announced_in_time() -> None:
    """INVARIANT: however long a rule has been broken, the owner has the days of the warning."""
    record, east = account(owner=uuid7()), uuid7()
    due, notice = OWNED + days(30), days(3)
    assert not record.fall_due(east, due, notice, NOW)
    assert (record.reclaim_pool, record.reclaim_time) == (east, NOW + notice)
    assert [event.kind for event in record.events] == ["reclaim_announced"]
    record.events.clear()
    assert not record.fall_due(east, due, notice, NOW + notice - days(0.001))
    assert record.fall_due(east, due, notice, NOW + notice)
    assert not record.events


def test_it_is_announced_before_the_rule_is_broken_and_called_off_by_a_touch() -> None:
    """A touch moves the day on: the announcement is gone, and comes again when the time comes again."""
    record, east, notice = account(owner=uuid7()), uuid7(), days(3)
    assert not record.fall_due(east, NOW + days(4), notice, NOW)
    assert record.reclaim_time is None
    assert not record.fall_due(east, NOW + days(2), notice, NOW)
    assert record.reclaim_time == NOW + days(3)
    assert not record.fall_due(east, NOW + days(30), notice, NOW + days(3))
    assert (record.reclaim_pool, record.reclaim_time) == (None, None)
    assert not record.fall_due(None, None, days(0), NOW + days(99))


def test_what_was_announced_for_another_pool_or_an_earlier_day_is_announced_anew() -> None:
    """The owner was told of something else."""
    record, east, west, notice = account(owner=uuid7()), uuid7(), uuid7(), days(3)
    record.fall_due(east, OWNED, notice, NOW)
    assert not record.fall_due(west, OWNED, notice, NOW + days(3))
    assert (record.reclaim_pool, record.reclaim_time) == (west, NOW + days(6))
    assert not record.fall_due(west, NOW + days(8), notice, NOW + days(6))
    assert record.reclaim_time == NOW + days(9)


# -- limits


@pytest.mark.parametrize(
    ("limits", "owned", "today", "refused"),
    [
        ({}, 10_000, 10_000, None),
        ({"claim_limit": 2}, 1, 9, None),
        ({"claim_limit": 2}, 2, 0, "claim_limit"),
        ({"claim_limit_per_day": 2}, 9, 1, None),
        ({"claim_limit_per_day": 2}, 0, 2, "claim_limit_per_day"),
    ],
)
def test_limits_count_what_somebody_has_and_what_they_got_today(
    limits: dict[str, int], owned: int, today: int, refused: str | None
) -> None:
    if refused is None:
        pool(**limits).admit(owned, today)
        return
    with pytest.raises(FailedPrecondition) as failure:
        pool(**limits).admit(owned, today)
    assert failure.value.reason == "CLAIM_LIMIT_REACHED"
    assert failure.value.metadata == {"limit": refused, "allowed": "2"}
