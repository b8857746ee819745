"""API keys: long-lived credentials that act as the user who made them."""

import base64
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument, PermissionDenied, Unauthenticated
from identity.domain.role import EVERYTHING, Grant, check_pattern, patterns_of
from identity.domain.session import hash_of, new_secret

_MARK_BYTES = 8  # 12 base32 characters and a bit, cut below
_MARK_LENGTH = 12


@dataclass(kw_only=True)
class ApiKey(Record):
    """A key; of the secret only its first characters and a hash are kept."""

    display_name: str
    prefix: str = ""
    expire_time: datetime | None = None
    last_used_time: datetime | None = None
    permissions: list[str] = field(default_factory=list)
    key_hash: bytes | None = field(default=None, repr=False)

    def make_secret(self) -> str:
        """Gives the key its secret, `crm_<mark>_<secret>`, which is shown this once."""
        mark = base64.b32encode(secrets.token_bytes(_MARK_BYTES)).decode().lower()[:_MARK_LENGTH]
        self.prefix = f"crm_{mark}"
        secret = f"{self.prefix}_{new_secret()}"
        self.key_hash = hash_of(secret)
        return secret

    def check(self) -> None:
        """Refuses a key that could never be used.

        Raises:
            InvalidArgument: It has no secret (keys cannot be imported) or is expired already.
        """
        if self.key_hash is None:
            msg = "A key cannot be imported; create it."
            raise InvalidArgument(msg, field="api_key")
        if self.expire_time is not None and self.expire_time <= self.create_time:
            msg = "api_key.expire_time lies in the past."
            raise InvalidArgument(msg, field="api_key.expire_time")

    def refuse_unknown(self, permissions: Iterable[str]) -> None:
        """Raises InvalidArgument `UNKNOWN_PERMISSION` if the key is limited to what does not exist."""
        known = patterns_of(permissions)
        for index, pattern in enumerate(self.permissions):
            check_pattern(pattern, known, f"api_key.permissions[{index}]")

    def refuse_wider_than(self, limits: Sequence[str] | None) -> None:
        """A limited key makes no key that may do more.

        Raises:
            PermissionDenied: `KEY_IS_LIMITED`.
        """
        if limits is None:
            return
        held = [Grant(limit, "ALL") for limit in limits]
        wanted = [Grant(pattern, "ALL") for pattern in self.permissions] or [EVERYTHING]
        if not all(any(own.covers(new) for own in held) for new in wanted):
            msg = "The key that you use is limited; a new one cannot do more."
            raise PermissionDenied(msg, reason="KEY_IS_LIMITED", field="api_key.permissions")

    def is_valid(self, now: datetime) -> bool:
        """True while the key is neither deleted nor expired."""
        expired = self.expire_time is not None and self.expire_time <= now
        return self.delete_time is None and not expired


def invalid_api_key() -> Unauthenticated:
    """The same answer for an unknown, deleted or expired key."""
    return Unauthenticated("The API key is not valid.", reason="INVALID_API_KEY")
