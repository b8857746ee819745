"""The first start, and all later ones."""

from typing import TYPE_CHECKING

import sqlalchemy as sa

from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.statements import compile_statement
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
