"""API keys: long-lived credentials that act as the user who made them."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument, Unauthenticated
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

    def is_valid(self, now: datetime) -> bool:
        """True while the key is neither deleted nor expired."""
        expired = self.expire_time is not None and self.expire_time <= now
        return self.delete_time is None and not expired


def invalid_api_key() -> Unauthenticated:
    """The same answer for an unknown, deleted or expired key."""
    return Unauthenticated("The API key is not valid.", reason="INVALID_API_KEY")
