"""Replacing the signing key without anybody noticing: by hand, and by age through durable jobs.

A job belongs to one key and finds out by itself whether there is still something to do; so it may be
promised twice, and run late.
"""

from datetime import timedelta
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from identity.domain.signing_key import (
    KEPT_AFTER_USE,
    PUBLISHED_BEFORE_USE,
    SigningKey,
    refuse_while_rotating,
)
from identity.storage.schema import SIGNING_KEYS, one_at_a_time
from identity.storage.signing_key import add_key, all_keys, retire_keys_before, seal_keys

ROTATE, RETIRE = "rotate_signing_key", "retire_signing_keys"
_NAMESPACE = UUID("6d2a6a8e-0c8f-4f5e-9c2b-3f1e7a5b9d10")


async def prepare_keys(call: Call) -> None:
    """At every start: the first key is made, older installations catch up."""
    await seal_keys(call)
    keys = await all_keys(call.tx, call)
    if not keys:
        await _add(call, [], timedelta(0))
    else:
        await _promise_rotation(call, keys[-1])


async def rotate(call: Call) -> SigningKey:
    """Makes a new key; raises FailedPrecondition `ROTATION_IN_PROGRESS`."""
    await one_at_a_time(call, SIGNING_KEYS)
    keys = await all_keys(call.tx, call)
    refuse_while_rotating(keys, call.now)
    return await _add(call, keys, PUBLISHED_BEFORE_USE)


async def rotate_by_age(call: Call, arguments: dict[str, Any]) -> None:
    """The job: replaces a key that has become old, unless somebody has done so."""
    await one_at_a_time(call, SIGNING_KEYS)
    keys = await all_keys(call.tx, call)
    if keys[-1].version == arguments["version"]:
        await _add(call, keys, PUBLISHED_BEFORE_USE)


async def retire(call: Call, arguments: dict[str, Any]) -> None:
    """The job: forgets the keys before one, once none of their tokens is valid any more."""
    await one_at_a_time(call, SIGNING_KEYS)
    await retire_keys_before(call, arguments["version"])


async def _add(call: Call, keys: list[SigningKey], delay: timedelta) -> SigningKey:
    key = await add_key(call, keys, delay)
    await _promise_rotation(call, key)
    if keys:
        due = key.active_time + KEPT_AFTER_USE
        await enqueue(call.tx, RETIRE, {"version": key.version}, due, _job_id(RETIRE, key))
    return key


async def _promise_rotation(call: Call, key: SigningKey) -> None:
    due = key.create_time + timedelta(days=call.home.settings.signing_key_days)
    await enqueue(call.tx, ROTATE, {"version": key.version}, due, _job_id(ROTATE, key))


def _job_id(kind: str, key: SigningKey) -> UUID:
    return uuid5_of(_NAMESPACE, f"{kind} {key.version}")
