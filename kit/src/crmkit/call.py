"""One piece of work: a request being answered, or an event being applied.

Whatever changes records takes a `Call`: it knows who acts, when, why and in which transaction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from crmkit.access import Principal
from crmkit.db import Database, Executor, Transaction

if TYPE_CHECKING:
    from crmkit.contract import Method


@dataclass(slots=True)
class Call:
    """One piece of work.

    Attributes:
        principal: Who acts.
        now: The instant that everything in this work carries.
        tx: The transaction; begins with its first statement.
        correlation_id: The request that started it all.
        causation_id: The event that caused this work, if any.
        imported: True while an import writes: automations stay quiet.
        method: The RPC being answered; None while applying events or running jobs.
        metadata: The request's metadata, lower-case keys.
        response_headers: Metadata to send before the answer.
    """

    principal: Principal
    now: datetime
    database: Database
    tx: Transaction
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    imported: bool = False
    method: "Method | None" = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    deadline: datetime | None = None
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    state: dict[str, Any] = field(default_factory=dict)

    @property
    def reader(self) -> Executor:
        """Where to read: the transaction once it has begun, else a connection of its own."""
        return self.tx if self.tx.begun else self.database
