"""Which passwords are good enough."""

import pytest

from crmkit.errors import InvalidArgument
from identity.domain.password import check_password


@pytest.mark.parametrize(
    "password",
    [
        "", "short", "seven77", "123456789", "1234567890", "aaaaaaaaaaaa", "abababababab",
        "password123", "Password2026!", "QWERTYUIOP", "iloveyou1234",
        "ada.lovelace-1815", "xxADA.LOVELACExx",
    ],
)  # fmt: skip
def test_a_weak_password_is_refused(password: str) -> None:
    """INVARIANT: the message names the rule, never the password."""
    with pytest.raises(InvalidArgument) as refused:
        check_password(password, "ada.lovelace@example.com")
    assert refused.value.reason == "WEAK_PASSWORD"
    assert refused.value.violations[0].field == "user.password"
    assert not password or password not in refused.value.message


@pytest.mark.parametrize(
    "password", ["correct horse", "Tr0ub4dor&3x", "ページの秘密の言葉です", "a" * 9 + "bc"]
)
def test_a_good_password_is_accepted(password: str) -> None:
    check_password(password, "ada.lovelace@example.com")


def test_a_very_short_name_may_be_part_of_the_password() -> None:
    """Two letters are contained in too much by chance."""
    check_password("a long story", "lo@example.com")
