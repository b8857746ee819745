"""Hashing and verifying passwords: argon2id, off the event loop, two at a time.

One hash takes 19 MiB and some 20 ms of a core (OWASP's recommendation), so more at once would only
starve other requests.
"""

import asyncio
import secrets
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

SLOTS = asyncio.Semaphore(2)
_HASHER = PasswordHasher(time_cost=2, memory_cost=19 * 1024, parallelism=1)


async def hash_password(password: str) -> str:
    """What is stored of a password."""
    async with SLOTS:
        return await asyncio.to_thread(_HASHER.hash, password)


async def is_password(password: str, password_hash: str | None) -> bool:
    """True if the hash is of this password; as slow without a hash. The caller holds a slot."""
    return await asyncio.to_thread(_verify, password, password_hash)


def _verify(password: str, password_hash: str | None) -> bool:
    try:
        matches = _HASHER.verify(password_hash or _nobodys_hash(), password)
    except (VerificationError, InvalidHashError):
        return False
    return matches and password_hash is not None


@cache
def _nobodys_hash() -> str:
    """A hash to verify against where there is none: an unknown address must take as long."""
    return _HASHER.hash(secrets.token_urlsafe())
