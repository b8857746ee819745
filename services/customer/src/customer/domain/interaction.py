"""Interactions: what happened between us and the people we deal with."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta

from crmkit.aggregate import Record
from crmkit.errors import InvalidArgument

# How far the clocks of those who record may be ahead of ours.
_CLOCKS_DIFFER_BY = timedelta(minutes=5)


@dataclass(kw_only=True)
class Interaction(Record):
    """A call, a meeting, a message, a visit or a note.

    Attributes:
        participants: Names of the contacts and users who took part.
        participant_addresses: How those were reached who are no records.
        related: Names of the records it is about.
        message_id: What tells a message apart in the system that carried it.
    """

    kind: str = "NOTE"
    direction: str | None = None
    channel: str | None = None
    subject: str | None = None
    body: str | None = None
    participants: list[str] = field(default_factory=list)
    participant_addresses: list[str] = field(default_factory=list)
    related: list[str] = field(default_factory=list)
    duration_minutes: int | None = None
    occur_time: datetime | None = None
    message_id: str | None = None

    def check(self) -> None:
        """Names each participant and each record once."""
        self.participants = list(dict.fromkeys(self.participants))
        self.related = list(dict.fromkeys(self.related))
        addresses = dict.fromkeys(self.participant_addresses)
        self.participant_addresses = [address for address in addresses if address]
        self.message_id = self.message_id or None  # an empty one is none

    def happen(self, now: datetime) -> None:
        """Becomes part of what is known; raises InvalidArgument if it is yet to come."""
        self.occur_time = self.occur_time or now
        self.refuse_future(now)
        for kind in ("created", "recorded"):
            self.record(kind, effective_time=self.occur_time)

    def refuse_future(self, now: datetime) -> None:
        """Raises InvalidArgument where it is yet to come."""
        if self.occur_time is None or self.occur_time > now + _CLOCKS_DIFFER_BY:
            msg = "An interaction has happened: its time does not lie in the future."
            raise InvalidArgument(msg, field="interaction.occur_time")

    def correct(self, fields: list[str]) -> None:
        """Notes that what was recorded was wrong in these fields; what it said stays in its history."""
        self.record("corrected", changed_fields=fields)
