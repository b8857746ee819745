"""Identifiers: time-ordered for records, derived for the steps of a saga."""

import hashlib
import os
import threading
import time
from uuid import UUID, uuid5

_COUNTER_BITS = 12
_RANDOM_BITS = 62
_lock = threading.Lock()
_last_tick = 0


def uuid7() -> UUID:
    """Returns a new UUIDv7 (RFC 9562), greater than every one this process made before.

    The 48-bit millisecond and the 12 bits after it are one counter: when a millisecond is
    used up, or the system clock steps back, it simply counts on.
    """
    global _last_tick  # noqa: PLW0603 - the order within the process is the purpose
    with _lock:
        milliseconds = time.time_ns() // 1_000_000
        _last_tick = tick = max(milliseconds << _COUNTER_BITS, _last_tick + 1)
    high = (tick >> _COUNTER_BITS) << 16 | 0x7000 | tick & 0xFFF
    low = 0b10 << _RANDOM_BITS | int.from_bytes(os.urandom(8)) >> 64 - _RANDOM_BITS
    return UUID(int=high << 64 | low)


def uuid5_of(parent: UUID, step: str) -> UUID:
    """Returns the id that `step` of `parent` always has, so that a repeat finds the same record."""
    return uuid5(parent, step)


def uuid7_of(parent: UUID, number: int) -> UUID:
    """Returns the id that row `number` of an import always has, so that a repeat finds the same record.

    Args:
        parent: A UUIDv7; the new ids carry its time and sort by `number`, which keeps bulk inserts fast.
        number: 0 to 2**32 - 1.
    """
    version_and_high = 0x7000 | number >> 20
    low = (number & 0xFFFFF) << 42 | _hash_bits(parent, 42)
    high = (parent.int >> 80) << 16 | version_and_high
    return UUID(int=high << 64 | 0b10 << _RANDOM_BITS | low)


def _hash_bits(parent: UUID, bits: int) -> int:
    digest = hashlib.sha256(parent.bytes).digest()
    return int.from_bytes(digest[:8]) >> (64 - bits)
