"""Entries of the audit log: made once, never changed."""

from dataclasses import dataclass
from datetime import datetime

from crmkit.aggregate import Record


@dataclass(kw_only=True)
class AuditEntry(Record):
    """Something done, or refused, that the organisation must be able to account for."""

    category: str
    action: str
    actor: str
    subject: str | None = None
    outcome: str
    reason: str | None = None
    session: str | None = None
    client_address: str | None = None
    correlation_id: str | None = None
    occur_time: datetime
