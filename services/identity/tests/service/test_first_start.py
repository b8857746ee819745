"""The first start, and all later ones."""

from typing import TYPE_CHECKING

import pytest
import sqlalchemy as sa

from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.settings import SettingsError, load
from crmkit.statements import compile_statement
from identity.settings import IdentitySettings
from identity.usecases.first_start import prepare

if TYPE_CHECKING:
    from conftest import Identity

_STATE = compile_statement(
    sa.text(
        """
        SELECT (SELECT count(*) FROM users), (SELECT count(*) FROM signing_keys),
               (SELECT sum(version) FROM roles), (SELECT count(*) FROM outbox)
        """
    )
)


async def test_a_later_start_changes_nothing(identity: "Identity") -> None:
    """INVARIANT: starting is repeatable: no second key, administrator, role or event."""
    home = identity.under_test.running.home
    before = await home.database.fetch_one(_STATE)
    async with home.database.transaction() as tx:
        await prepare(new_call(home, service_principal("identity"), tx))
        assert await tx.fetch_one(_STATE) == before


def test_a_weak_password_of_the_administrator_is_refused_by_name() -> None:
    """The fault names the setting and does not repeat the password."""
    environ = {
        "CRM_DATABASE_URL": "postgresql:///{service}",
        "CRM_SERVICES": "identity=127.0.0.1:1",
        "CRM_KEYS_DIR": "keys",
        "CRM_ADMIN_PASSWORD": "tiny",
    }
    with pytest.raises(SettingsError) as refused:
        load(IdentitySettings, environ)
    assert str(refused.value).startswith("CRM_ADMIN_PASSWORD: ")
    assert "tiny" not in str(refused.value)
