"""Wrong passwords: when an account waits, and for how long."""

from datetime import UTC, datetime, timedelta

import pytest

from crmkit.errors import ResourceExhausted
from identity.domain.sign_in_attempts import SignInAttempts

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)


def failed(times: int) -> SignInAttempts:
    attempts = SignInAttempts(NOON)
    for _ in range(times):
        attempts.fail(NOON)
    return attempts


def test_nine_wrong_passwords_are_forgiven_and_ten_are_not() -> None:
    failed(9).check(NOON)
    with pytest.raises(ResourceExhausted) as refused:
        failed(10).check(NOON)
    assert (refused.value.reason, refused.value.retry_after) == ("TOO_MANY_ATTEMPTS", 60)


@pytest.mark.parametrize(("failures", "minutes"), [(10, 1), (11, 2), (12, 4), (13, 8), (50, 15)])
def test_each_further_wrong_password_doubles_the_wait(failures: int, minutes: int) -> None:
    attempts = failed(failures)
    assert attempts.locked_until == NOON + timedelta(minutes=minutes)
    attempts.check(NOON + timedelta(minutes=minutes))


def test_wrong_passwords_count_within_a_quarter_of_an_hour() -> None:
    """INVARIANT: nobody is locked out by mistakes of another day."""
    attempts = failed(9)
    attempts.fail(NOON + timedelta(minutes=15))
    assert (attempts.failures, attempts.locked_until) == (1, None)
