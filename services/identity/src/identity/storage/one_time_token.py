"""Where one-time tokens are kept; only their hashes."""

from uuid import UUID

import sqlalchemy as sa

from crmkit.call import Call
from crmkit.db import Executor, Transaction
from crmkit.statements import TEXT, TIMESTAMP, compile_statement
from identity.domain.one_time_token import Purpose
from identity.domain.session import hash_of, new_secret
from identity.storage.schema import IDENTITY

one_time_tokens = sa.Table(
    "one_time_tokens",
    IDENTITY,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("user", sa.Uuid, nullable=False, index=True),
    sa.Column("purpose", TEXT, nullable=False),
    sa.Column("expire_time", TIMESTAMP, nullable=False),
)

_hash = sa.bindparam("hash", type_=sa.LargeBinary)
_user = sa.bindparam("owner", type_=sa.Uuid)
_now = sa.bindparam("now", type_=TIMESTAMP)
_valid = sa.and_(
    one_time_tokens.c.hash == _hash,
    one_time_tokens.c.purpose == sa.any_(sa.bindparam("purposes", type_=sa.ARRAY(sa.Text))),
    one_time_tokens.c.expire_time > _now,
)
_INSERT = compile_statement(
    one_time_tokens.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in one_time_tokens.columns}
    )
)
_FORGET = compile_statement(
    sa.delete(one_time_tokens).where(
        one_time_tokens.c.user == _user,
        sa.or_(
            one_time_tokens.c.expire_time <= _now,
            one_time_tokens.c.purpose == sa.bindparam("ended_purpose", type_=TEXT),
        ),
    )
)
_FORGET_ALL = compile_statement(sa.delete(one_time_tokens).where(one_time_tokens.c.user == _user))
_FIND = compile_statement(sa.select(one_time_tokens.c.user).where(_valid))
_USE = compile_statement(sa.delete(one_time_tokens).where(_valid).returning(one_time_tokens.c.user))


async def new_token(call: Call, tx: Transaction, user: UUID, purpose: Purpose) -> str:
    """Makes a token; where only the newest counts, the ones before it end."""
    secret = new_secret()
    ended = purpose.value if purpose.only_newest else ""
    await tx.execute(_FORGET, {"owner": user, "now": call.now, "ended_purpose": ended})
    row = {"hash": hash_of(secret), "user": user, "purpose": purpose.value}
    await tx.execute(_INSERT, {**row, "expire_time": call.now + purpose.lifetime})
    return secret


async def user_of_token(
    executor: Executor, call: Call, token: str, *purposes: Purpose
) -> UUID | None:
    """Whose valid token it is; it stays valid."""
    parameters = {"hash": hash_of(token), "purposes": list(purposes), "now": call.now}
    row = await executor.fetch_one(_FIND, parameters)
    return row[0] if row is not None else None


async def use_token(tx: Transaction, call: Call, token: str, *purposes: Purpose) -> UUID | None:
    """Whose token it was; None if it was not valid: of two that use it at once, one is late."""
    parameters = {"hash": hash_of(token), "purposes": list(purposes), "now": call.now}
    row = await tx.fetch_one(_USE, parameters)
    return row[0] if row is not None else None


async def forget_tokens_of(tx: Transaction, user: UUID) -> None:
    """Ends every token of a user: their password, address or right to sign in has changed."""
    await tx.execute(_FORGET_ALL, {"owner": user})
