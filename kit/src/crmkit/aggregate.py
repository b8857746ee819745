"""Records and what happens to them.

A record is a plain dataclass whose attributes are the proto's fields and the table's columns. Rules change
attributes and `record` what happened; whoever saves the record publishes those events with it.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID


@dataclass
class RecordedEvent:
    """Something that happened, by the past tense in its routing key: `won`, `stage_changed`.

    Attributes:
        effective_time: When it happened in the business, if not now.
        details: Values for the event message's own fields.
    """

    kind: str
    effective_time: datetime | None
    details: dict[str, object]


@dataclass(kw_only=True)
class Record:
    """What every record has; `owner` and `team` decide who sees it."""

    # Fields that follow from others: neither history nor events tell of their changes.
    derived = frozenset[str]()

    id: UUID
    version: int = 1
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None = None
    creator: UUID | None = None
    owner: UUID | None = None
    team: UUID | None = None
    labels: dict[str, str] = field(default_factory=dict)
    external_id: str | None = None
    custom_fields: dict[str, Any] = field(default_factory=dict)
    events: list[RecordedEvent] = field(default_factory=list, repr=False, compare=False)

    def record(
        self, kind: str, *, effective_time: datetime | None = None, **details: object
    ) -> None:
        """Notes that something happened; it is published when the record is saved."""
        self.events.append(RecordedEvent(kind, effective_time, details))

    def check(self) -> None:
        """Raises InvalidArgument where fields contradict one another; called before every save."""
