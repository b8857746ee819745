"""When a key signs, and for how long it verifies: a rotation that no token notices."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from crmkit.errors import FailedPrecondition
from identity.domain.session import ACCESS_LIFETIME

# Until everyone has it: the edge and Envoy each look for new keys every 30 s, services at once.
PUBLISHED_BEFORE_USE = timedelta(minutes=2)
# Beyond the last token's life: clocks differ, and a token is signed a moment after its key was chosen.
KEPT_AFTER_USE = ACCESS_LIFETIME + timedelta(minutes=2)


@dataclass(frozen=True)
class SigningKey:
    """A key pair.

    Attributes:
        version: Counts keys; never reused.
        active_time: From when on it signs, unless a newer one does.
        pair: Private and public half, opaque here.
    """

    version: int
    kid: str
    create_time: datetime
    active_time: datetime
    pair: Any = field(repr=False, compare=False)


def signing_now(keys: Sequence[SigningKey], now: datetime) -> SigningKey:
    """The key to sign with: the newest whose time has come."""
    return max((k for k in keys if k.active_time <= now), default=keys[0], key=lambda k: k.version)


def refuse_while_rotating(keys: Sequence[SigningKey], now: datetime) -> None:
    """Raises FailedPrecondition `ROTATION_IN_PROGRESS` while the newest key does not sign yet."""
    if keys and keys[-1].active_time > now:
        msg = "The newest key is not in use yet; wait until it is."
        metadata = {"active_time": keys[-1].active_time.isoformat()}
        raise FailedPrecondition(msg, reason="ROTATION_IN_PROGRESS", metadata=metadata)
