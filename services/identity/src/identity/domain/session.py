"""Sessions: signed in until signed out, or until nobody has refreshed for 30 days."""

import hashlib
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crmkit.errors import Unauthenticated

ACCESS_LIFETIME = timedelta(minutes=10)
REFRESH_LIFETIME = timedelta(days=30)
_SECRET_BYTES = 32


@dataclass(kw_only=True)
class Session:
    """A signed-in user on one device.

    Attributes:
        expire_time: When it ends unless it is refreshed before.
        end_time: When it was ended; None while it was not.
        last_used_time: When it was last refreshed.
        client_address: Where it was last used from; empty if unknown.
        user_agent: What program signed in; empty if unknown.
    """

    id: UUID
    user: UUID
    create_time: datetime
    expire_time: datetime
    end_time: datetime | None = None
    last_used_time: datetime | None = None
    client_address: str | None = None
    user_agent: str | None = None

    def is_open(self, now: datetime) -> bool:
        """True while the session can be refreshed."""
        return self.end_time is None and now < self.expire_time


def new_secret() -> str:
    """A refresh token: 256 random bits."""
    return secrets.token_urlsafe(_SECRET_BYTES)


def hash_of(secret: str) -> bytes:
    """What is stored of a refresh token or an API key; random enough for a fast hash."""
    return hashlib.sha256(secret.encode()).digest()


def invalid_credentials() -> Unauthenticated:
    """The same answer whether the address is unknown, the password wrong or the user not active."""
    msg = "The e-mail address or the password is wrong."
    return Unauthenticated(msg, reason="INVALID_CREDENTIALS")


def invalid_refresh_token() -> Unauthenticated:
    """The same answer for an unknown, replaced or expired refresh token."""
    msg = "The refresh token is not valid; sign in again."
    return Unauthenticated(msg, reason="INVALID_REFRESH_TOKEN")
