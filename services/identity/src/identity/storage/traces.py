"""What else is kept of a user, and goes with them."""

from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Transaction
from crmkit.statements import compile_statement
from identity.storage.identity_provider import external_identities
from identity.storage.one_time_token import one_time_tokens
from identity.storage.second_factor import recovery_codes, second_factors
from identity.storage.session import sessions

# Refresh tokens go with their sessions.
_FORGET = [
    compile_statement(sa.delete(table).where(table.c.user == sa.bindparam("owner", type_=sa.Uuid)))
    for table in (external_identities, one_time_tokens, recovery_codes, second_factors, sessions)
]


async def forget_traces_of(tx: Transaction, user: UUID) -> None:
    """Removes sign-in data of a user who is removed for good."""
    for statement in _FORGET:
        await tx.execute(statement, {"owner": user})
