"""Absences: when somebody is away, and who stands in for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from crmkit.errors import FailedPrecondition, InvalidArgument

# Deputies of deputies.
LONGEST_CHAIN = 5
_LONGEST = timedelta(days=366)


@dataclass(kw_only=True)
class Absence:
    """A time in which somebody is away."""

    start_time: datetime
    end_time: datetime
    deputy: UUID | None = None

    def overlaps(self, other: "Absence") -> bool:
        """True if there is a moment that lies in both."""
        return self.start_time < other.end_time and other.start_time < self.end_time


def check_times(absence: Absence, now: datetime) -> None:
    """Raises InvalidArgument for an absence that is over, ends before it begins, or is very long."""
    problem = ""
    if absence.end_time <= absence.start_time:
        problem = "must be after absence.start_time."
    elif absence.end_time <= now:
        problem = "must be in the future."
    elif absence.end_time - absence.start_time > _LONGEST:
        problem = "must be at most a year after absence.start_time."
    if problem:
        msg = f"absence.end_time {problem}"
        raise InvalidArgument(msg, field="absence.end_time")


def check_chain(user: UUID, chain: Sequence[Any]) -> None:
    """Refuses deputies who, being away too, would lead back, or ever further.

    Args:
        user: Who is to be away.
        chain: Their deputy, the deputy's deputy and so on, as far as they are away in that time.

    Raises:
        FailedPrecondition: `DEPUTY_NOT_ACTIVE`, `DEPUTY_CIRCLE`.
    """
    deputy = chain[0]
    if not deputy.may_sign_in or deputy.is_service:
        msg = "The deputy must be a person who may sign in."
        raise FailedPrecondition(msg, reason="DEPUTY_NOT_ACTIVE", field="absence.deputy")
    ids = [one.id for one in chain]
    if user in ids or len(set(ids)) < len(ids) or len(ids) > LONGEST_CHAIN:
        msg = "The deputy is away in that time, and their deputies lead back or too far."
        raise FailedPrecondition(msg, reason="DEPUTY_CIRCLE", field="absence.deputy")
