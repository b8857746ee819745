"""Where wrong passwords are counted, so that all replicas agree.

What is counted for is kept as a hash: what is typed into the field of the e-mail address may be
anything, a password too.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.db import Database, Executor, Transaction
from crmkit.statements import TIMESTAMP, compile_statement
from identity.domain.sign_in_attempts import (
    MAX_FAILURES,
    MAX_FAILURES_OF_ADDRESS,
    WINDOW,
    SignInAttempts,
)
from identity.domain.user import normalise_email
from identity.storage.schema import IDENTITY

sign_in_attempts = sa.Table(
    "sign_in_attempts",
    IDENTITY,
    sa.Column("email_hash", sa.LargeBinary, primary_key=True),
    sa.Column("window_start", TIMESTAMP, nullable=False, index=True),
    sa.Column("failures", sa.Integer, nullable=False),
    sa.Column("locked_until", TIMESTAMP),
)

_by_hash = sign_in_attempts.c.email_hash == sa.bindparam("hash", type_=sa.LargeBinary)
_values = ("window_start", "failures", "locked_until")
_columns = [sign_in_attempts.c[name] for name in _values]
_FIND = compile_statement(sa.select(*_columns).where(_by_hash))
_LOCK = compile_statement(sa.select(*_columns).where(_by_hash).with_for_update())
_START = compile_statement(
    insert(sign_in_attempts)
    .values(
        email_hash=sa.bindparam("hash", type_=sa.LargeBinary),
        window_start=sa.bindparam("now", type_=TIMESTAMP),
        failures=0,
    )
    .on_conflict_do_nothing()
)
_SAVE = compile_statement(
    sa.update(sign_in_attempts)
    .where(_by_hash)
    .values({n: sa.bindparam(n, type_=sign_in_attempts.c[n].type) for n in _values})
)
# A few old rows go with every new failure, so that made-up addresses do not fill the table.
_old = (
    sa.select(sign_in_attempts.c.email_hash)
    .where(sign_in_attempts.c.window_start < sa.bindparam("before", type_=TIMESTAMP))
    .limit(10)
    .with_for_update(skip_locked=True)
)
_FORGET_OLD = compile_statement(
    sa.delete(sign_in_attempts).where(sign_in_attempts.c.email_hash.in_(_old))
)
_FORGET = compile_statement(sa.delete(sign_in_attempts).where(_by_hash))


@dataclass(frozen=True)
class Counter:
    """What failures are counted for: `kind` and `value` say what, never two things the same."""

    kind: str
    value: str
    limit: int = MAX_FAILURES

    @property
    def hash(self) -> bytes:
        """Under which it is stored."""
        return hashlib.sha256(f"{self.kind}:{self.value}".encode()).digest()


def counters(email: str, client_address: str) -> list[Counter]:
    """What a wrong password counts for: the account and, if known, where it was typed."""
    found = [Counter("email", normalise_email(email))]
    if client_address:
        found.append(Counter("address", client_address, MAX_FAILURES_OF_ADDRESS))
    return found


async def check_attempts(executor: Executor, counted: Sequence[Counter], now: datetime) -> None:
    """Raises ResourceExhausted `TOO_MANY_ATTEMPTS` while an account or an address has to wait."""
    for counter in counted:
        row = await executor.fetch_one(_FIND, {"hash": counter.hash})
        if row is not None:
            SignInAttempts(*row).check(now)


async def count_failure(database: Database, counted: Sequence[Counter], now: datetime) -> None:
    """Counts a wrong password in a transaction of its own, for the request itself will fail."""
    async with database.transaction() as tx:
        for counter in counted:
            key = {"hash": counter.hash}
            await tx.execute(_START, {**key, "now": now})
            row = await tx.fetch_one(_LOCK, key)
            attempts = SignInAttempts(*row) if row is not None else SignInAttempts(now)
            attempts.fail(now, counter.limit)
            await tx.execute(_SAVE, {**key, **vars(attempts)})
        await tx.execute(_FORGET_OLD, {"before": now - 2 * WINDOW})


async def forget_failures(tx: Transaction, email: str) -> None:
    """The right password was given: what went before does not count, but for the address it does."""
    await tx.execute(_FORGET, {"hash": counters(email, "")[0].hash})
