"""Webhooks: where events are sent, and when an endpoint has failed often enough."""

import base64
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument
from crmkit.states import StateMachine

WEBHOOK = StateMachine(
    "state",
    {
        "pause": ({"ACTIVE"}, "PAUSED"),
        "resume": ({"PAUSED"}, "ACTIVE"),
    },
)

# Failures in a row after which an endpoint is paused: with the pauses below, about three hours.
FAILURES_UNTIL_PAUSED = 20
RETRY_FOR = timedelta(days=1)
BOTH_SECRETS_FOR = timedelta(hours=24)
_SECRET_BYTES = 32
_SECRET_MARK = "whsec_"  # noqa: S105 - how Standard Webhooks marks a secret
_FIRST_PAUSE_SECONDS = 5.0
_LONGEST_HOLD_SECONDS = 900.0
_LONGEST_RETRY_SECONDS = 4 * 3600.0
_GONE = 410


@dataclass(kw_only=True)
class Webhook(Record):
    """An address that events are sent to.

    Methods that change the state raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no
    entry.
    """

    display_name: str
    url: str
    event_types: list[str] = field(default_factory=list)
    condition: str | None = None
    state: str = "ACTIVE"
    pause_reason: str | None = None
    previous_secret_expire_time: datetime | None = None
    limits: list[str] | None = None  # of the credential with which somebody last said what it sends
    sealed_secret: bytes | None = field(default=None, repr=False)
    sealed_previous_secret: bytes | None = field(default=None, repr=False)

    @property
    def aim(self) -> tuple[object, ...]:
        """What is sent, and where."""
        return self.url, self.event_types, self.condition

    def check(self) -> None:
        """Raises InvalidArgument for an event type named twice."""
        if len(set(self.event_types)) < len(self.event_types):
            msg = "webhook.event_types names a type twice."
            raise InvalidArgument(msg, field="webhook.event_types")

    def pause(self, reason: str) -> None:
        """Sends nothing any more."""
        WEBHOOK.move(self, "pause")
        self.pause_reason = reason
        self.record("paused")

    def resume(self) -> None:
        """Sends again."""
        WEBHOOK.move(self, "resume")
        self.pause_reason = None
        self.record("resumed")

    def rotate(self, sealed_secret: bytes, now: datetime) -> None:
        """Signs with a new secret, and for a day with the one before as well."""
        self.sealed_previous_secret = self.sealed_secret
        self.sealed_secret = sealed_secret
        self.previous_secret_expire_time = now + BOTH_SECRETS_FOR
        self.record("secret_rotated")

    def sealed_secrets(self, now: datetime) -> list[bytes]:
        """What to sign with now, the newest first."""
        found = [self.sealed_secret]
        if self.previous_secret_expire_time is not None and now < self.previous_secret_expire_time:
            found.append(self.sealed_previous_secret)
        return [sealed for sealed in found if sealed is not None]


def new_secret() -> str:
    """A secret of 256 bits, as people see it."""
    return _SECRET_MARK + base64.b64encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def secret_bytes(secret: str) -> bytes:
    """What is signed with."""
    return base64.b64decode(secret.removeprefix(_SECRET_MARK))


def matches(pattern: str, event_type: str) -> bool:
    """True if an event type is the pattern, or begins with what stands before its `*`."""
    if pattern.endswith("*"):
        return event_type.startswith(pattern[:-1])
    return pattern == event_type


def arrived(status_code: int) -> bool:
    """True for the answers by which an endpoint takes an event: a redirect is none."""
    return 200 <= status_code < 300  # noqa: PLR2004 - the class 2xx of RFC 9110


def gone(status_code: int) -> bool:
    """True if the endpoint says that it will never take anything again."""
    return status_code == _GONE


def hold(failures: int) -> timedelta:
    """How long nothing is sent to an endpoint after so many failures in a row (from 1)."""
    return _doubling(failures, _LONGEST_HOLD_SECONDS)


def retry_pause(attempts: int) -> timedelta:
    """How long a delivery waits after so many attempts (from 1)."""
    return _doubling(attempts, _LONGEST_RETRY_SECONDS)


def _doubling(count: int, longest: float) -> timedelta:
    return timedelta(seconds=min(_FIRST_PAUSE_SECONDS * 2.0 ** min(count - 1, 30), longest))
