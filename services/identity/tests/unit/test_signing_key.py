"""Which key signs when."""

from datetime import UTC, datetime, timedelta

import pytest

from crmkit.errors import FailedPrecondition
from identity.domain.signing_key import SigningKey, refuse_while_rotating, signing_now

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)


def key(version: int, minutes: int) -> SigningKey:
    active = NOON + timedelta(minutes=minutes)
    return SigningKey(version, str(version), active, active, None)


@pytest.mark.parametrize(
    ("minutes", "signs"), [((-60,), 1), ((-60, 1), 1), ((-60, 0), 2), ((-60, -30, 1), 2), ((5,), 1)]
)
def test_the_newest_key_whose_time_has_come_signs(minutes: tuple[int, ...], signs: int) -> None:
    """Also where the clocks of two machines differ: there is always one."""
    keys = [key(version, after) for version, after in enumerate(minutes, start=1)]
    assert signing_now(keys, NOON).version == signs


def test_a_rotation_is_not_begun_during_another() -> None:
    refuse_while_rotating([], NOON)
    refuse_while_rotating([key(1, -9), key(2, 0)], NOON)
    with pytest.raises(FailedPrecondition) as refused:
        refuse_while_rotating([key(1, -9), key(2, 1)], NOON)
    assert refused.value.reason == "ROTATION_IN_PROGRESS"
