"""Customer pools: which accounts they take, and how many somebody may claim."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID

from crmkit.aggregate import Record
from crmkit.errors import FailedPrecondition, InvalidArgument

WARNING_DAYS = 3
_RULES = ("days_without_interaction", "days_without_opportunity")


@dataclass(frozen=True)
class Touches:
    """When something last happened with an account; None where it never did.

    Attributes:
        owned: Since when its owner has it: nothing before that is held against them.
        interaction: The last interaction, also of an appointment that was held.
        opportunity: When an opportunity was last begun, moved or ended.
    """

    owned: datetime
    interaction: datetime | None = None
    opportunity: datetime | None = None


@dataclass(kw_only=True)
class CustomerPool(Record):
    """Where accounts without an owner wait for one.

    Attributes:
        teams: Who may claim, with the teams below them; everybody if there are none.
    """

    display_name: str
    teams: list[UUID] = field(default_factory=list)
    days_without_interaction: int | None = None
    days_without_opportunity: int | None = None
    warning_days: int | None = None
    exempt_grades: list[str] = field(default_factory=list)
    claim_limit: int | None = None
    claim_limit_per_day: int | None = None

    def check(self) -> None:
        """Names each team and grade once.

        Raises:
            InvalidArgument: An owner would be told before a rule could be broken at all.
        """
        self.teams = list(dict.fromkeys(self.teams or []))
        self.exempt_grades = [grade for grade in dict.fromkeys(self.exempt_grades or []) if grade]
        self.warning_days = self.warning_days or WARNING_DAYS
        for name in _RULES:
            days = getattr(self, name)
            if days is not None and days <= self.warning_days:
                msg = f"{name} must be more than the {self.warning_days} days of the warning."
                raise InvalidArgument(msg, field=f"customer_pool.{name}")

    @property
    def has_rules(self) -> bool:
        """True if it takes accounts by itself."""
        return any(getattr(self, name) is not None for name in _RULES)

    @property
    def notice(self) -> timedelta:
        """How long before it is taken an owner is told."""
        return timedelta(days=self.warning_days or WARNING_DAYS)

    def is_open_to(self, teams: Sequence[UUID]) -> bool:
        """True for who works in one of these teams: their own and those above it."""
        return not self.teams or not set(self.teams).isdisjoint(teams)

    def due_time(self, grade: str | None, touches: Touches) -> datetime | None:
        """When the first of the rules is broken by an account; None for one that is not taken."""
        if grade is not None and grade in self.exempt_grades:
            return None
        last = zip(_RULES, (touches.interaction, touches.opportunity), strict=True)
        return min(
            (
                max(touches.owned, happened or touches.owned) + timedelta(days=days)
                for name, happened in last
                if (days := getattr(self, name)) is not None
            ),
            default=None,
        )

    def admit(self, owned: int, claimed_today: int) -> None:
        """Raises FailedPrecondition `CLAIM_LIMIT_REACHED` for who has, or got today, as many as they may."""
        for name, count in (("claim_limit", owned), ("claim_limit_per_day", claimed_today)):
            allowed = getattr(self, name)
            if allowed is not None and count >= allowed:
                msg = (
                    f"No more accounts may be claimed from {self.display_name} ({name}: {allowed})."
                )
                metadata = {"limit": name, "allowed": str(allowed)}
                raise FailedPrecondition(msg, reason="CLAIM_LIMIT_REACHED", metadata=metadata)
