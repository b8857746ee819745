"""Where roles are kept, and the rules that need other records."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.identity.v1 import role_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, compile_statement, record_table
from identity.domain.role import (
    Grant,
    Role,
    check_grants,
    last_administrator,
    refuse_escalation,
)
from identity.storage.schema import ADMINISTRATORS, IDENTITY, one_at_a_time

roles = record_table(
    "roles",
    IDENTITY,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("description", TEXT),
    sa.Column("grants", JSONB, nullable=False),
    sa.Column("built_in", sa.Boolean, nullable=False),
    sa.Index("uq_roles_display_name", "display_name", unique=True),
)

# Whoever could sign in and administer without one user or one role.
_OTHER_ADMINISTRATOR = compile_statement(
    sa.text(
        """
        SELECT u.id FROM users u JOIN roles r ON r.id = ANY (u.roles)
        WHERE u.state = 'ACTIVE' AND u.delete_time IS NULL AND u.password_hash IS NOT NULL
          AND r.delete_time IS NULL
          AND r.grants @> '[{"permission": "*", "record_scope": "ALL"}]'
          AND u.id IS DISTINCT FROM :user AND r.id IS DISTINCT FROM :role
        LIMIT 1
        """
    ).bindparams(sa.bindparam("user", type_=sa.Uuid), sa.bindparam("role", type_=sa.Uuid))
)


async def refuse_without_administrator(
    call: Call, *, user: object = None, role: object = None
) -> None:
    """Refuses a change unless somebody could administer without this user or role.

    Raises:
        FailedPrecondition: `LAST_ADMINISTRATOR`.
    """
    await one_at_a_time(call, ADMINISTRATORS)
    if await call.tx.fetch_one(_OTHER_ADMINISTRATOR, {"user": user, "role": role}) is None:
        raise last_administrator()


def held_grants(call: Call) -> list[Grant]:
    """What the caller may do."""
    return [Grant(pattern, scope.name) for pattern, scope in call.principal.grants.items()]


async def check_role(call: Call, after: Role, before: Role | None) -> None:
    """Grants exist, nobody grants what they lack, built-in roles stay, somebody can administer."""
    if before is not None and call.principal.name != f"services/{call.home.name}":
        before.refuse_if_built_in()
    given_before = before.grants_in_effect() if before is not None else set()
    check_grants(after.grants, contract.permissions())
    gained = after.grants_in_effect() - given_before
    refuse_escalation(held_grants(call), gained, "role.grants")
    if before is not None and before.administers and not after.administers:
        await refuse_without_administrator(call, role=after.id)


ROLES = Collection(role_pb2.Role, Role, roles, rule=check_role)
