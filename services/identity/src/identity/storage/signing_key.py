"""Where the keys that sign access tokens are kept: the private halves sealed.

Whoever can read the database alone cannot sign tokens.
"""

import base64
import json
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
from identity.storage.schema import IDENTITY, sealer

signing_keys = sa.Table(
    "signing_keys",
    IDENTITY,
    sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
    sa.Column("kid", TEXT, nullable=False, unique=True),
    sa.Column("private_jwk", JSONB, nullable=False),
    sa.Column("create_time", TIMESTAMP, nullable=False),
)

_ALL = compile_statement(
    sa.select(signing_keys.c.version, signing_keys.c.private_jwk).order_by(signing_keys.c.version)
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


async def all_keys(executor: Executor, call: Call) -> list[ECKey]:
    """Every key that tokens may be signed with, oldest first; the last one signs."""
    return [_opened(call, row[1]) for row in await executor.fetch_all(_ALL)]


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
    for version, stored in await call.tx.fetch_all(_ALL):
        if "sealed" not in stored:
            sealed = _sealed(call, ECKey.import_key(stored))
            await call.tx.execute(_SEAL, {"number": version, "sealed": sealed})


def public_key(key: ECKey) -> session_pb2.KeySet.Key:
    """The public half of a key, as clients get it."""
    fields: dict[str, Any] = key.as_dict(private=False)
    names = session_pb2.KeySet.Key.DESCRIPTOR.fields_by_name
    return session_pb2.KeySet.Key(**{n: v for n, v in fields.items() if n in names})


async def add_key(call: Call) -> None:
    """Makes a new key and tells every service of all that are valid now."""
    keys = await all_keys(call.tx, call)
    version = len(keys) + 1
    kid = str(uuid7())
    key = ECKey.generate_key("P-256", {"kid": kid, "use": "sig", "alg": "ES256"})
    row = {
        "version": version,
        "kid": kid,
        "private_jwk": _sealed(call, key),
        "create_time": call.now,
    }
    await call.tx.execute(_INSERT, row)
    message = session_pb2.SigningKeyRotated(keys=[public_key(k) for k in (*keys, key)])
    event = new_event(
        call,
        routing_key="identity.signing_key.rotated",
        message=message,
        subject="signingKeys/current",
        subject_version=version,
        event_index=0,
        owner=None,
        team=None,
    )
    await outbox.append(call.tx, [event])
