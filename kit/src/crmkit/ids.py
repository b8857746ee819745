"""Identifiers: time-ordered for records, derived for the steps of a saga."""

import secrets
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
    low = 0b10 << _RANDOM_BITS | secrets.randbits(_RANDOM_BITS)
    return UUID(int=high << 64 | low)


def uuid5_of(parent: UUID, step: str) -> UUID:
    """Returns the id that `step` of `parent` always has, so that a repeat finds the same record."""
    return uuid5(parent, step)
