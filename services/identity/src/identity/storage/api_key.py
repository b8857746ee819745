"""Where API keys are kept; only hashes of the secrets."""

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from crm.identity.v1 import api_key_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from identity.domain.api_key import ApiKey
from identity.domain.session import hash_of
from identity.storage.schema import IDENTITY, unlimited
from identity.storage.session import publish_revoked

_LAST_USE_PRECISION = timedelta(hours=1)

api_keys = record_table(
    "api_keys",
    IDENTITY,
    sa.Column("display_name", TEXT, nullable=False),
    sa.Column("prefix", TEXT, nullable=False),
    sa.Column("expire_time", TIMESTAMP),
    sa.Column("last_used_time", TIMESTAMP),
    sa.Column("permissions", sa.ARRAY(TEXT), nullable=False, server_default="{}"),
    sa.Column("key_hash", sa.LargeBinary, nullable=False),
    sa.Index("uq_api_keys_key_hash", "key_hash", unique=True),
)


async def end_access(call: Call, after: ApiKey, _before: ApiKey | None) -> None:
    """A deleted key's access tokens end with it; nothing else changes a deleted key."""
    if after.delete_time is not None and after.owner is not None:
        await publish_revoked(call, call.tx, after.id, after.owner)


API_KEYS = Collection(
    api_key_pb2.ApiKey,
    ApiKey,
    api_keys,
    rule=end_access,
    private=frozenset({"key_hash"}),
    unstored=frozenset({"key"}),
)

API_KEYS.handed_over = sa.false()  # whoever has a key acts as its owner

_BY_HASH = compile_statement(
    sa.select(*API_KEYS.codec.columns).where(
        api_keys.c.key_hash == sa.bindparam("hash", type_=sa.LargeBinary)
    )
)
_OF_USER = compile_statement(
    sa.select(api_keys.c.id)
    .where(
        api_keys.c.owner == sa.bindparam("user", type_=sa.Uuid), api_keys.c.delete_time.is_(None)
    )
    .order_by(api_keys.c.id)
)
_USED = compile_statement(
    sa.update(api_keys)
    .where(api_keys.c.id == sa.bindparam("key", type_=sa.Uuid))
    .values(last_used_time=sa.bindparam("now", type_=TIMESTAMP))
)


async def key_of_secret(call: Call, secret: str) -> ApiKey | None:
    """The key with a secret, deleted or expired too."""
    row = await call.reader.fetch_one(_BY_HASH, {"hash": hash_of(secret)})
    return API_KEYS.codec.from_row(row) if row is not None else None


async def note_use(call: Call, key: ApiKey) -> None:
    """Remembers, to the hour, that a key was used; no new version, for it is no change."""
    if key.last_used_time is None or call.now - key.last_used_time >= _LAST_USE_PRECISION:
        hour = call.now.replace(minute=0, second=0, microsecond=0)
        await call.tx.execute(_USED, {"key": key.id, "now": hour})


async def delete_keys_of(call: Call, user: UUID) -> None:
    """Deletes every key that acts as a user.

    Whoever may end the user's access may end all of it, also where the keys are out of their scope.
    """
    for (key_id,) in await call.tx.fetch_all(_OF_USER, {"user": user}):
        key = await API_KEYS.for_change(unlimited(call), key_id)
        key.delete_time = call.now
        await API_KEYS.save(unlimited(call), key, "deleted")
