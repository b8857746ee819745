"""Users: states, addresses and what is in effect."""

from datetime import UTC, datetime

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.states import Cell
from identity.domain.user import STATES, User

NOW = datetime(2026, 1, 2, tzinfo=UTC)


def user(email: str = "ada@example.com", state: str = "ACTIVE") -> User:
    return User(
        id=uuid7(), create_time=NOW, update_time=NOW, email=email, display_name="A", state=state
    )


@pytest.mark.parametrize("cell", list(STATES.cells()))
def test_every_cell_of_the_state_table(cell: Cell) -> None:
    """INVARIANT: a method leads where the table says or is refused and changes nothing."""
    ada = user(state=cell.state)
    if cell.target is None:
        with pytest.raises(FailedPrecondition) as refused:
            getattr(ada, cell.method)()
        assert refused.value.reason == "ILLEGAL_TRANSITION"
        assert (ada.state, ada.events) == (cell.state, [])
    else:
        getattr(ada, cell.method)()
        assert ada.state == cell.target
        assert [event.kind for event in ada.events] == [f"{cell.method}d"]


@pytest.mark.parametrize("email", ["", "ada", "@example.com", "ada@", "a da@example.com", "a@b@c"])
def test_what_is_no_address_is_refused(email: str) -> None:
    with pytest.raises(InvalidArgument) as refused:
        user(email).check()
    assert refused.value.violations[0].field == "user.email"


def test_addresses_are_kept_in_lower_case_and_roles_once() -> None:
    """INVARIANT: one person cannot have the same address twice."""
    ada, role = user(" Ada@Example.COM "), uuid7()
    ada.roles = [role, role]
    ada.check()
    assert (ada.email, ada.roles) == ("ada@example.com", [role])


def test_roles_are_in_effect_only_while_the_user_may_sign_in() -> None:
    ada = user()
    ada.roles = [uuid7()]
    assert ada.roles_in_effect() == set(ada.roles)
    ada.deactivate()
    assert ada.roles_in_effect() == set()
    ada.activate()
    ada.delete_time = NOW
    assert ada.roles_in_effect() == set()


def test_the_hash_of_the_password_is_never_printed() -> None:
    """INVARIANT: no log line shows a hash by accident."""
    ada = user()
    ada.password_hash = "$argon2id$secret"
    assert "argon2id" not in repr(ada)
