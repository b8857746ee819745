"""Wrong passwords: after ten within a quarter of an hour the account waits, longer each time.

A network address, behind which there may be a whole office, waits after fifty: that stops whoever tries
one password on many accounts.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from crmkit.errors import ResourceExhausted

MAX_FAILURES = 10
MAX_FAILURES_OF_ADDRESS = 50
WINDOW = timedelta(minutes=15)
_FIRST_WAIT = timedelta(minutes=1)


@dataclass
class SignInAttempts:
    """The wrong passwords for one account, known to us or not, or from one network address.

    Attributes:
        window_start: When the first of the failures was made.
        locked_until: No password is tried before; None if any may be.
    """

    window_start: datetime
    failures: int = 0
    locked_until: datetime | None = None

    def check(self, now: datetime) -> None:
        """Raises ResourceExhausted `TOO_MANY_ATTEMPTS` while the account waits."""
        if self.locked_until is not None and now < self.locked_until:
            msg = "Too many wrong passwords; wait before you try again."
            seconds = (self.locked_until - now).total_seconds()
            raise ResourceExhausted(msg, reason="TOO_MANY_ATTEMPTS", retry_after=seconds)

    def fail(self, now: datetime, limit: int = MAX_FAILURES) -> None:
        """Counts a wrong password; from the one at the limit on each doubles the wait."""
        if now >= self.window_start + WINDOW:
            self.window_start, self.failures = now, 0
        self.failures += 1
        beyond = self.failures - limit
        if beyond >= 0:
            self.locked_until = now + min(_FIRST_WAIT * 2**beyond, WINDOW)
