"""The identity service's tables."""

from dataclasses import replace

import sqlalchemy as sa

from crmkit.access import EVERYTHING
from crmkit.call import Call
from crmkit.sealing import Sealer, sealer_of
from crmkit.statements import compile_statement

IDENTITY = sa.MetaData()

_LOCK = compile_statement(
    sa.select(sa.func.pg_advisory_xact_lock(sa.bindparam("key", type_=sa.BigInteger)))
)
ADMINISTRATORS = 0x43524D41
TEAM_TREE = 0x43524D54
SIGNING_KEYS = 0x43524D4B


async def one_at_a_time(call: Call, what: int) -> None:
    """Waits until no other transaction checks the same rule; for rules that span records."""
    await call.tx.execute(_LOCK, {"key": what})


def unlimited(call: Call) -> Call:
    """The same work without the caller's limits: for what follows from an act that they may do."""
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


def sealer(call: Call) -> Sealer:
    """What this service's secrets are sealed with."""
    return sealer_of(call.home.name, call.home.settings.keys_dir)
