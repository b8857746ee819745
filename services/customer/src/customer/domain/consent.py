"""Consents: what a person allows us on a channel for a purpose, entry by entry."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument

_CLOCKS_APART = timedelta(minutes=5)
# When it took effect, when it was recorded, whether it is a withdrawal, its id: the greatest decides.
Rank = tuple[datetime, datetime, bool, UUID]


@dataclass(kw_only=True)
class Consent(Record):
    """An entry of the ledger: something is allowed from an instant on, or no longer.

    Attributes:
        purpose: An entry of the pick list `consent_purpose`.
        method: Proof: how the person told us.
        place: Proof: where.
        text_version: Proof: what they agreed to.
        source: Proof: the campaign or system that it came from.
        evidence: Proof: what else shows it.
    """

    contact: UUID
    channel: str
    purpose: str
    decision: str
    basis: str = "CONSENT"
    method: str | None = None
    place: str | None = None
    text_version: str | None = None
    source: str | None = None
    evidence: str | None = None
    effective_time: datetime | None = None

    def check(self) -> None:
        """Raises InvalidArgument `REQUIRED_FIELD` where something is granted and nothing shows how."""
        self.purpose = self.purpose.strip()
        if not self.purpose:
            msg = "Say what for."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="consent.purpose")
        if self.decision == "GRANTED" and self.method is None:
            msg = "Say how it was granted: what cannot be shown does not count."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="consent.method")

    def take_effect(self, now: datetime) -> None:
        """Takes effect when it is recorded, unless it says since when; a clock ahead of ours means now.

        Raises:
            InvalidArgument: That lies in the future.
        """
        if self.effective_time is None:
            self.effective_time = self.create_time
        elif now < self.effective_time <= now + _CLOCKS_APART:
            self.effective_time = now
        elif self.effective_time > now:
            msg = "A consent cannot take effect in the future; record it when it does."
            raise InvalidArgument(msg, field="consent.effective_time")

    @property
    def rank(self) -> Rank:
        """What decides is the entry of the greatest rank among those that took effect by an instant.

        At equal times a withdrawal wins: in doubt nobody is written to.
        """
        assert self.effective_time is not None
        return self.effective_time, self.create_time, self.decision == "WITHDRAWN", self.id

    def follow(self, rank: Rank | None, decision: str | None) -> None:
        """Notes what was recorded, and whether what holds now changes with it.

        Args:
            rank: That of the entry which decided so far; None where there was none.
            decision: What that entry said.
        """
        self.record("created", effective_time=self.effective_time)
        if (rank is None or self.rank > rank) and self.decision != decision:
            self.record("changed", effective_time=self.effective_time, previous_decision=decision)
