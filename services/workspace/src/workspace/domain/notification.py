"""Notifications: what one person should know."""

from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from crmkit.aggregate import Record

KINDS = (
    "ASSIGNED", "WEBHOOK_PAUSED", "RULE", "RULE_PAUSED", "MENTIONED", "COMMENTED", "JOB_ENDED",
    "TASK_DUE", "TASK_REMINDER", "SHARED", "APPOINTMENT_REMINDER",
    "RECLAIM_ANNOUNCED", "POOLED", "DOCUMENT_EXPIRED",
)  # fmt: skip


@dataclass(kw_only=True)
class Notification(Record):
    """Something for its owner; of others it holds names of records at most."""

    kind: str
    text_key: str | None = None
    parameters: dict[str, str] = field(default_factory=dict)
    subject: str | None = None
    actor: UUID | None = None
    text: str | None = None
    read_time: datetime | None = None
    deputy_for: UUID | None = None

    def read(self, now: datetime) -> None:
        """Notes that it was seen, once."""
        if self.read_time is None:
            self.read_time = now
            self.record("read")
