"""Where second factors are kept: the secrets sealed, of the recovery codes only hashes."""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.call import Call
from crmkit.db import Executor, Transaction
from crmkit.statements import TIMESTAMP, compile_statement
from identity.domain.second_factor import (
    SecondFactor,
    new_recovery_codes,
    recovery_hash,
)
from identity.storage.schema import IDENTITY, sealer

second_factors = sa.Table(
    "second_factors",
    IDENTITY,
    sa.Column("user", sa.Uuid, primary_key=True),
    sa.Column("sealed_secret", sa.LargeBinary, nullable=False),
    sa.Column("confirm_time", TIMESTAMP),
    sa.Column("last_step", sa.BigInteger, nullable=False),
)
recovery_codes = sa.Table(
    "recovery_codes",
    IDENTITY,
    sa.Column("hash", sa.LargeBinary, primary_key=True),
    sa.Column("user", sa.Uuid, nullable=False, index=True),
)

_owner = sa.bindparam("owner", type_=sa.Uuid)
_put = insert(second_factors).values(
    {c.name: sa.bindparam(c.name, type_=c.type) for c in second_factors.columns}
)
_PUT = compile_statement(
    _put.on_conflict_do_update(
        index_elements=["user"],
        set_={c.name: _put.excluded[c.name] for c in second_factors.columns if not c.primary_key},
    )
)
_FIND = compile_statement(sa.select(*second_factors.columns).where(second_factors.c.user == _owner))
_step = sa.bindparam("step", type_=sa.BigInteger)
_of_older_step = sa.update(second_factors).where(
    second_factors.c.user == _owner, second_factors.c.last_step < _step
)
_USE_STEP = compile_statement(
    _of_older_step.values(last_step=_step).returning(second_factors.c.user)
)
_CONFIRM = compile_statement(
    _of_older_step.where(second_factors.c.confirm_time.is_(None))
    .values(last_step=_step, confirm_time=sa.bindparam("now", type_=TIMESTAMP))
    .returning(second_factors.c.user)
)
_FORGET = compile_statement(sa.delete(second_factors).where(second_factors.c.user == _owner))
_ADD_CODE = compile_statement(
    recovery_codes.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in recovery_codes.columns}
    )
)
_USE_CODE = compile_statement(
    sa.delete(recovery_codes)
    .where(
        recovery_codes.c.user == _owner,
        recovery_codes.c.hash == sa.bindparam("hash", type_=sa.LargeBinary),
    )
    .returning(recovery_codes.c.user)
)
_HAS_CODE = compile_statement(
    sa.select(recovery_codes.c.user).where(
        recovery_codes.c.user == _owner,
        recovery_codes.c.hash == sa.bindparam("hash", type_=sa.LargeBinary),
    )
)
_COUNT_CODES = compile_statement(
    sa.select(sa.func.count()).select_from(recovery_codes).where(recovery_codes.c.user == _owner)
)
_FORGET_CODES = compile_statement(sa.delete(recovery_codes).where(recovery_codes.c.user == _owner))


def _purpose(user: UUID) -> str:
    return f"users/{user}/secondFactor"


async def factor_of(executor: Executor, call: Call, user: UUID) -> SecondFactor | None:
    """A user's second factor, confirmed or not."""
    row = await executor.fetch_one(_FIND, {"owner": user})
    if row is None:
        return None
    secret = sealer(call).unseal(bytes(row[1]), _purpose(user)).decode()
    return SecondFactor(user=row[0], secret=secret, confirm_time=row[2], last_step=row[3])


async def put_factor(call: Call, factor: SecondFactor) -> None:
    """Stores a second factor in the place of the one before."""
    row = {
        "user": factor.user,
        "sealed_secret": sealer(call).seal(factor.secret.encode(), _purpose(factor.user)),
        "confirm_time": factor.confirm_time,
        "last_step": factor.last_step,
    }
    await call.tx.execute(_PUT, row)


async def use_step(tx: Transaction, user: UUID, step: int) -> bool:
    """Uses a code up; False if one of this half minute, or of a later one, was used before."""
    return await tx.fetch_one(_USE_STEP, {"owner": user, "step": step}) is not None


async def confirm_factor(tx: Transaction, user: UUID, step: int, now: datetime) -> bool:
    """Turns a second factor on and uses its first code up; False if it is on already."""
    parameters = {"owner": user, "step": step, "now": now}
    return await tx.fetch_one(_CONFIRM, parameters) is not None


async def has_recovery_code(executor: Executor, user: UUID, code: str) -> bool:
    """True if a recovery code could be used."""
    parameters = {"owner": user, "hash": recovery_hash(code)}
    return await executor.fetch_one(_HAS_CODE, parameters) is not None


async def use_recovery_code(tx: Transaction, user: UUID, code: str) -> bool:
    """Uses a recovery code up; False if there is none such."""
    parameters = {"owner": user, "hash": recovery_hash(code)}
    return await tx.fetch_one(_USE_CODE, parameters) is not None


async def count_recovery_codes(executor: Executor, user: UUID) -> int:
    """How many recovery codes a user has left."""
    row = await executor.fetch_one(_COUNT_CODES, {"owner": user})
    return int(row[0]) if row is not None else 0


async def replace_recovery_codes(tx: Transaction, user: UUID) -> list[str]:
    """Makes new recovery codes in the place of the former ones; the caller shows them once."""
    await tx.execute(_FORGET_CODES, {"owner": user})
    codes = new_recovery_codes()
    for code in codes:
        await tx.execute(_ADD_CODE, {"hash": recovery_hash(code), "user": user})
    return codes


async def forget_factor(tx: Transaction, user: UUID) -> None:
    """Forgets a user's second factor and recovery codes."""
    await tx.execute(_FORGET, {"owner": user})
    await tx.execute(_FORGET_CODES, {"owner": user})
