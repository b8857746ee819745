"""Conversions: how far a lead is on its way to a customer, so that nothing is made twice or left behind."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID

from crmkit.ids import uuid5_of

UNDER_WAY = frozenset({"STARTED", "UNDOING"})
# As long as another service stays away we try; then what was made is taken back once it answers again.
GIVES_UP_AFTER = timedelta(hours=1)


@dataclass(kw_only=True)
class Conversion:
    """One attempt to convert a lead.

    Attributes:
        lead: Which.
        state: STARTED, then DONE; or UNDOING, then UNDONE.
        requester: Who asked for it; what is made was created by them.
        account: The account that was asked for, then the one that it has become.
        contact: The same of the contact.
        opportunity: The same of the opportunity.
        new_account: Whether the account was made for it, and goes when it is undone.
        new_contact: The same of the contact.
        with_opportunity: Whether an opportunity is wanted.
        opportunity_display_name: What a new one is about.
        pipeline: Where a new one begins.
        start_time: When it was asked for.
        error_reason: Why it is taken back.
    """

    id: UUID
    lead: UUID
    state: str = "STARTED"
    requester: UUID | None = None
    account: UUID | None = None
    contact: UUID | None = None
    opportunity: UUID | None = None
    new_account: bool = True
    new_contact: bool = True
    with_opportunity: bool = True
    opportunity_display_name: str | None = None
    pipeline: UUID | None = None
    start_time: datetime
    error_reason: str | None = None

    def step(self, name: str) -> str:
        """The request id of a step: the same in every attempt, so that it takes effect once."""
        return str(uuid5_of(self.id, name))

    def is_over_at(self, now: datetime) -> bool:
        """True once it is not tried any longer."""
        return now - self.start_time > GIVES_UP_AFTER

    def asks_for_other(self, *wanted: UUID | None) -> bool:
        """True where an account, contact or opportunity is asked for that is not the one it has become."""
        has = (self.account, self.contact, self.opportunity)
        return any(ask is not None and ask != got for ask, got in zip(wanted, has, strict=True))
