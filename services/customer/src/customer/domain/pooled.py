"""What customer pools do with accounts: they are released, claimed, and taken when nothing happens."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Self
from uuid import UUID

from crmkit.states import StateMachine
from customer.domain.party import Party

POOL = StateMachine(
    "pool_state", {"releaseToPool": ({"OWNED"}, "IN_POOL"), "claim": ({"IN_POOL"}, "OWNED")}
)


@dataclass(kw_only=True)
class Pooled(Party):
    """What belongs to somebody, or waits in a pool for somebody to claim it.

    Methods raise FailedPrecondition `ILLEGAL_TRANSITION` where the table has no entry.

    Attributes:
        claim_pool: Where its owner claimed it from.
        reclaim_pool: What takes it at `reclaim_time`, unless something happens with it before.
    """

    pool: UUID | None = None
    pool_time: datetime | None = None
    claim_pool: UUID | None = None
    reclaim_pool: UUID | None = None
    reclaim_time: datetime | None = None

    @property
    def pool_state(self) -> str:
        """The state of the table; who waits for an owner outside of a pool counts as owned."""
        return "OWNED" if self.pool is None else "IN_POOL"

    def release(self, pool: UUID, now: datetime, *, automatic: bool = False) -> None:
        """Goes into a pool."""
        POOL.check(self, "releaseToPool")
        previous = f"users/{self.owner}" if self.owner else None
        self._forget_pools()
        self.owner = None
        self.pool, self.pool_time = pool, now
        changed = ["owner", "pool"]
        self.record("pooled", previous_owner=previous, changed_fields=changed, automatic=automatic)

    def claim(self, owner: UUID) -> None:
        """Becomes somebody's own."""
        POOL.check(self, "claim")
        pool = self.pool
        self._forget_pools()
        self.owner, self.claim_pool = owner, pool
        changed = ["owner", "pool"]
        self.record("claimed", pool=f"customerPools/{pool}", changed_fields=changed)

    def follow_owner(self, before: Self) -> None:
        """What another owner means who got it in another way: it is in no pool, and goes into none yet."""
        if self.owner != before.owner and self.pool == before.pool:
            self._forget_pools()

    def fall_due(
        self, pool: UUID | None, due: datetime | None, notice: timedelta, now: datetime
    ) -> bool:
        """Announces that a pool takes it, calls that off, or says that the time has come.

        Args:
            pool: The pool whose rules are broken first.
            due: When they are; None without one.
            notice: How long before the owner is told at least, however long the rules are broken.
            now: The time.

        Returns:
            True if the pool takes it now: it was announced in time, and nothing happened since.
        """
        if due is None or now < due - notice:
            self.reclaim_pool = self.reclaim_time = None
            return False
        if self.reclaim_time is None or self.reclaim_pool != pool or self.reclaim_time < due:
            self.reclaim_pool, self.reclaim_time = pool, max(due, now + notice)
            self.record("reclaim_announced")
            return False
        return now >= self.reclaim_time

    def _forget_pools(self) -> None:
        self.pool = self.claim_pool = self.reclaim_pool = None
        self.pool_time = self.reclaim_time = None
