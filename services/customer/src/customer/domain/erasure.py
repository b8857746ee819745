"""Erasures: a person is taken out of every service, and the service that owns contacts is the last."""

from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID

from crmkit.errors import FailedPrecondition

OWN = "customer"  # the part that comes last


@dataclass(frozen=True)
class Part:
    """What one service has done; attributes as in the contract, `counts` by collection."""

    service: str
    state: str = "WAITING"
    confirm_time: str | None = None  # as in JSON
    counts: dict[str, int] = field(default_factory=dict)


@dataclass
class Erasure:
    """Who is erased, why, and how far it is.

    Attributes:
        names: The records that are the person.
        texts: Addresses and numbers that are theirs alone; kept for the second looks, then none any more.
    """

    id: UUID
    contact: UUID
    names: list[str]
    texts: list[str]
    reason: str
    creator: UUID | None
    create_time: datetime
    state: str = "RUNNING"
    parts: list[Part] = field(default_factory=list)
    end_time: datetime | None = None

    @property
    def name(self) -> str:
        """The resource name."""
        return f"erasures/{self.id}"

    def confirm(self, service: str, counts: dict[str, int], now: datetime) -> bool:
        """Takes over that a service has erased; False if it had said so before."""
        part = next((p for p in self.parts if p.service == service), None)
        if part is None or part.state == "CONFIRMED":
            return False
        done = replace(part, state="CONFIRMED", confirm_time=now.isoformat(), counts=counts)
        self.parts = [done if p is part else p for p in self.parts]
        return True

    @property
    def all_others_confirmed(self) -> bool:
        """True if only the part of the service that owns contacts is left."""
        return all(p.state == "CONFIRMED" for p in self.parts if p.service != OWN)

    def end(self, now: datetime) -> None:
        """Ends it; the addresses are still needed, by the second looks."""
        self.state, self.end_time = "SUCCEEDED", now


def addresses_in(value: Any) -> set[str]:
    """The addresses and numbers within e-mail addresses and phone numbers as they are kept in JSON."""
    if isinstance(value, list):
        return set().union(*(addresses_in(item) for item in value)) if value else set()
    if isinstance(value, dict):
        return {str(value[key]) for key in ("address", "number") if value.get(key)}
    return set()


def refuse_erased(erase_time: datetime | None, running: str | None) -> None:
    """Raises FailedPrecondition `CONTACT_ERASED` or `ERASURE_RUNNING`, with the `erasure`."""
    if erase_time is not None:
        msg = "The contact is erased; nothing is left of the person."
        raise FailedPrecondition(msg, reason="CONTACT_ERASED")
    if running is not None:
        msg = "The contact is being erased."
        metadata = {"erasure": running}
        raise FailedPrecondition(msg, reason="ERASURE_RUNNING", metadata=metadata)
