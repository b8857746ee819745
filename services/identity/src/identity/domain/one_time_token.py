"""Tokens that work once and not for long: the step between two of a sign-in, a link in a mail."""

from datetime import timedelta
from enum import StrEnum


class Purpose(StrEnum):
    """What a token is for; it works for nothing else."""

    SIGN_IN = "SIGN_IN"
    RESET_PASSWORD = "RESET_PASSWORD"  # noqa: S105 - a purpose, not a password
    INVITATION = "INVITATION"

    @property
    def lifetime(self) -> timedelta:
        """How long a token works."""
        return _LIFETIMES[self]

    @property
    def only_newest(self) -> bool:
        """True if a new token ends the ones before it."""
        return self is not Purpose.SIGN_IN


_LIFETIMES = {
    Purpose.SIGN_IN: timedelta(minutes=5),
    Purpose.RESET_PASSWORD: timedelta(minutes=30),
    Purpose.INVITATION: timedelta(days=7),
}
