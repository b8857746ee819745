"""Where the keys that sign access tokens are kept: the private halves sealed.

Whoever can read the database alone cannot sign tokens.
"""

import base64
import json
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
from joserfc.jwk import ECKey
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from crm.identity.v1 import session_pb2
from crmkit.call import Call
from crmkit.db import Executor
from crmkit.feed import outbox
from crmkit.ids import uuid7
from crmkit.publishing import new_event
from crmkit.statements import TEXT, TIMESTAMP, compile_statement
from identity.domain.signing_key import SigningKey
from identity.storage.schema import IDENTITY, sealer

signing_keys = sa.Table(
    "signing_keys",
    IDENTITY,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kid", TEXT, nullable=False, unique=True),
    sa.Column("private_jwk", JSONB, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("active_time", TIMESTAMP),  # None in keys from before keys were replaced
)

_ALL = compile_statement(
    sa.select(
        signing_keys.c.version,
        signing_keys.c.private_jwk,
        signing_keys.c.create_time,
        signing_keys.c.active_time,
    ).order_by(signing_keys.c.version)
)
_RETIRE = compile_statement(
    sa.delete(signing_keys)
    .where(signing_keys.c.version < sa.bindparam("first_kept", type_=sa.Integer))
    .returning(signing_keys.c.version)
)
_SEAL = compile_statement(
    sa.update(signing_keys)
    .where(signing_keys.c.version == sa.bindparam("number", type_=sa.Integer))
    .values(private_jwk=sa.bindparam("sealed", type_=JSONB))
)
_INSERT = compile_statement(
    signing_keys.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in signing_keys.columns}
    )
)


async def all_keys(executor: Executor, call: Call) -> list[SigningKey]:
    """Every key that valid tokens may be signed with, oldest first."""
    keys = []
    for version, stored, created, active in await executor.fetch_all(_ALL):
        pair = _opened(call, stored)
        keys.append(SigningKey(version, str(pair.kid), created, active or created, pair))
    return keys


def _sealed(call: Call, key: ECKey) -> Jsonb:
    private = json.dumps(key.as_dict(private=True)).encode()
    box = sealer(call).seal(private, f"signingKeys/{key.kid}")
    return Jsonb({"kid": key.kid, "sealed": base64.b64encode(box).decode()})


def _opened(call: Call, stored: dict[str, Any]) -> ECKey:
    if "sealed" not in stored:  # from before keys were sealed
        return ECKey.import_key(stored)
    box = base64.b64decode(stored["sealed"])
    return ECKey.import_key(json.loads(sealer(call).unseal(box, f"signingKeys/{stored['kid']}")))


async def seal_keys(call: Call) -> None:
    """Seals the keys of an installation from before keys were sealed."""
    for version, stored, *_ in await call.tx.fetch_all(_ALL):
        if "sealed" not in stored:
            sealed = _sealed(call, ECKey.import_key(stored))
            await call.tx.execute(_SEAL, {"number": version, "sealed": sealed})


def public_key(key: SigningKey) -> session_pb2.KeySet.Key:
    """The public half of a key, as clients get it."""
    fields: dict[str, Any] = key.pair.as_dict(private=False)
    names = session_pb2.KeySet.Key.DESCRIPTOR.fields_by_name
    return session_pb2.KeySet.Key(**{n: v for n, v in fields.items() if n in names})


async def add_key(call: Call, keys: list[SigningKey], delay: timedelta) -> SigningKey:
    """Makes a new key beside the others and tells every service of all that are valid now."""
    kid = str(uuid7())
    pair = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})
    version = keys[-1].version + 1 if keys else 1
    key = SigningKey(version, kid, call.now, call.now + delay, pair)
    row = {
        "version": version,
        "kid": kid,
        "private_jwk": _sealed(call, pair),
        "create_time": key.create_time,
        "active_time": key.active_time,
    }
    await call.tx.execute(_INSERT, row)
    await _publish(call, [*keys, key], event_index=0)
    return key


async def retire_keys_before(call: Call, version: int) -> None:
    """Forgets the keys before one, and tells every service; nothing if that is done."""
    if await call.tx.fetch_all(_RETIRE, {"first_kept": version}):
        await _publish(call, await all_keys(call.tx, call), event_index=version)


async def _publish(call: Call, keys: list[SigningKey], *, event_index: int) -> None:
    """Tells every service which keys are valid now.

    Args:
        call: The work at hand.
        keys: All of them, oldest first.
        event_index: 0 for a new key, else which keys were retired: each version of the keys is made
            once, and may later lose keys several times.
    """
    event = new_event(
        call,
        routing_key="identity.signing_key.rotated",
        message=session_pb2.SigningKeyRotated(keys=[public_key(key) for key in keys]),
        subject="signingKeys/current",
        subject_version=keys[-1].version,
        event_index=event_index,
        owner=None,
        team=None,
    )
    await outbox.append(call.tx, [event])
