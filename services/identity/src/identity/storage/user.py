"""Where users are kept, and the rules that need other records."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.identity.v1 import user_pb2
from crmkit.access import EVERYTHING, Principal
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.db import Executor, Transaction
from crmkit.errors import Aborted
from crmkit.statements import TEXT, compile_statement, record_table
from identity.domain.role import Grant, refuse_escalation
from identity.domain.user import User, normalise_email
from identity.storage.api_key import delete_keys_of
from identity.storage.one_time_token import forget_tokens_of
from identity.storage.role import ROLES, held_grants, refuse_without_administrator
from identity.storage.schema import IDENTITY, unlimited
from identity.storage.session import end_sessions_of

users = record_table(
    "users",
    IDENTITY,
    sa.Column("email", TEXT, nullable=False),
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("roles", sa.ARRAY(sa.Uuid), nullable=False),
    sa.Column("password_hash", TEXT),
    sa.Column("second_factor", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("kind", TEXT, nullable=False, server_default="PERSON"),
    sa.Column("absence", JSONB),
    sa.Index("uq_users_email", "email", unique=True),
    sa.Index("ix_users_display_name", "display_name", "id"),
)

_ROLES_BY_ID = compile_statement(
    sa.select(*ROLES.codec.columns).where(
        ROLES.table.c.id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid)))
    )
)


async def grants_of(call: Call, role_ids: set[UUID]) -> set[Grant]:
    """Everything that some roles give."""
    rows = await call.reader.fetch_all(_ROLES_BY_ID, {"ids": list(role_ids)})
    return {grant for row in rows for grant in ROLES.codec.from_row(row).grants_in_effect()}


async def _administers(call: Call, user: User | None) -> bool:
    if user is None or not user.roles_in_effect():
        return False
    rows = await call.reader.fetch_all(_ROLES_BY_ID, {"ids": list(user.roles_in_effect())})
    return any(ROLES.codec.from_row(row).administers for row in rows)


async def check_user(call: Call, after: User, before: User | None) -> None:
    """Nobody gives roles they lack; somebody can administer; access ends where it must."""
    had = before.roles_in_effect() if before is not None else set()
    gained = after.roles_in_effect() - had
    if gained:
        given = await grants_of(call, gained)
        refuse_escalation(held_grants(call), given, "user.roles")
    lost = had - after.roles_in_effect()
    if lost and await _administers(call, before) and not await _administers(call, after):
        await refuse_without_administrator(call, user=after.id)
    if before is not None:
        await _refuse_taking_over(call, after, before)
        await _end_access(call, after, before)


async def _refuse_taking_over(call: Call, after: User, before: User) -> None:
    """Who sets what somebody signs in with can act as them, so must have all that they have."""
    taken = [
        name
        for name in ("email", "password_hash", "second_factor")
        if getattr(after, name) != getattr(before, name)
    ]
    own = after.id == call.principal.user and call.principal.limits is None
    if taken and not own:
        field = f"user.{taken[-1].removesuffix('_hash')}"
        refuse_escalation(held_grants(call), await grants_of(call, set(before.roles)), field)


async def _end_access(call: Call, after: User, before: User) -> None:
    """A new password ends the other sessions; who may not sign in loses everything."""
    if (before.email, before.password_hash) != (after.email, after.password_hash) or (
        before.may_sign_in and not after.may_sign_in
    ):
        await forget_tokens_of(call.tx, after.id)
    if before.may_sign_in and not after.may_sign_in:
        await end_sessions_of(call, call.tx, after.id)
        await delete_keys_of(call, after.id)
    elif after.password_hash != before.password_hash:
        await end_sessions_of(call, call.tx, after.id, spared=call.principal.session)


USERS = Collection(
    user_pb2.User,
    User,
    users,
    natural_key="email",
    rule=check_user,
    import_fields=["state"],
    private=frozenset({"password_hash"}),
    purged_by_age=False,
)

_BY_EMAIL = compile_statement(
    sa.select(*USERS.codec.columns).where(users.c.email == sa.bindparam("email"))
)
_by_id = sa.select(*USERS.codec.columns).where(users.c.id == sa.bindparam("id", type_=sa.Uuid))
_BY_ID = compile_statement(_by_id)
_HOLD = compile_statement(_by_id.with_for_update(read=True))
_ANY = compile_statement(sa.select(users.c.id).limit(1))


async def user_by_email(executor: Executor, email: str) -> User | None:
    """The user with an address, deleted or not, whoever asks: for signing in."""
    row = await executor.fetch_one(_BY_EMAIL, {"email": normalise_email(email)})
    return USERS.codec.from_row(row) if row is not None else None


async def user_by_id(executor: Executor, user: UUID) -> User | None:
    """The user with an id, deleted or not, whoever asks: for signing in."""
    row = await executor.fetch_one(_BY_ID, {"id": user})
    return USERS.codec.from_row(row) if row is not None else None


async def user_held_still(tx: Transaction, user: UUID) -> User | None:
    """The user with an id, who cannot be changed until the transaction has ended."""
    row = await tx.fetch_one(_HOLD, {"id": user})
    return USERS.codec.from_row(row) if row is not None else None


@asynccontextmanager
async def own_record_changing(call: Call, user: UUID) -> AsyncIterator[User]:
    """A user's record, locked, whatever the caller may do to users; saved when the block ends well."""
    stored = await USERS.for_change(unlimited(call), user)
    yield stored
    await USERS.save(unlimited(call), stored)


async def put_password(call: Call, user: User, password_hash: str) -> None:
    """Gives a user a new password, which ends their sessions but the caller's own.

    Raises:
        Aborted: The password was changed, or the user may not sign in, since the user was read.
    """
    async with own_record_changing(call, user.id) as stored:
        if stored.password_hash != user.password_hash or not stored.may_sign_in:
            msg = "The user has changed meanwhile."
            raise Aborted(msg)
        stored.password_hash = password_hash


def acting_as(call: Call, user: User) -> Call:
    """The same work done by a user who has shown who they are without being signed in."""
    principal = Principal(name=f"users/{user.id}", grants=EVERYTHING, user=user.id)
    return replace(call, principal=principal)


async def has_users(executor: Executor) -> bool:
    """False until the first user is there."""
    return await executor.fetch_one(_ANY) is not None
