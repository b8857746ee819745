"""What a service is: the table of contents that each `service.py` fills in."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from crmkit import contract
from crmkit.batches import batch_method
from crmkit.call import Call, Home
from crmkit.collection import Collection
from crmkit.contract import Method
from crmkit.errors import ContractError
from crmkit.feed.events import Event
from crmkit.personal.declaration import (
    KEPT_BY_ALL,
    LOOKED_THROUGH,
    NOTHING_BY_ALL,
    OWNER,
    Keeper,
    Personal,
)
from crmkit.resources import standard_method
from crmkit.settings import ServiceSettings

EventHandler = Callable[[Event, Call], Awaitable[None]]
JobHandler = Callable[[Call, dict[str, Any]], Awaitable[None]]
Loop = Callable[[Home, asyncio.Event], Coroutine[Any, Any, None]]


@dataclass(frozen=True)
class Part:
    """What a package beside the kit gives to a service: methods, their jobs, and what it keeps of people."""

    servicers: Mapping[str, Any]
    jobs: Mapping[str, JobHandler]
    keeper: Keeper | None = None


@dataclass(frozen=True)
class Service:
    """One service, declared.

    Attributes:
        name: Its name in packages, permissions and queues.
        migrations: Folder of its Alembic migrations.
        collections: The resources it owns.
        servicers: gRPC service name → object with the methods that the kit does not provide.
        consumes: Routing key → handler of other services' events; handlers write only this database.
        jobs: Kind → handler of durable jobs.
        parts: What packages beside the kit add: imports and exports.
        on_first_start: Run once the database is up to date, in one transaction; must be repeatable.
        settings: What it reads from the environment.
        audit: Keeps an entry for the audit log; identity is told of it if not said.
        handover: Notes how far a hand-over is here; identity is told of it if not said.
        personal: Where it keeps personal data beside its records.
        loops: Run beside the server once it has started, until the event tells them to stop.
    """

    name: str
    migrations: Path
    collections: Sequence[Collection[Any]] = ()
    servicers: Mapping[str, Any] = field(default_factory=dict)
    consumes: Mapping[str, EventHandler] = field(default_factory=dict)
    jobs: Mapping[str, JobHandler] = field(default_factory=dict)
    parts: Sequence[Callable[["Service"], Part]] = ()
    on_first_start: Callable[[Call], Awaitable[None]] | None = None
    loops: Sequence[Loop] = ()
    personal: Personal = field(default_factory=Personal)
    audit: Callable[[Call, Any], Awaitable[None]] | None = None
    handover: Callable[[Call, Any], Awaitable[None]] | None = None
    settings: type[ServiceSettings] = ServiceSettings

    @property
    def knows(self) -> list[str]:
        """Collections of other services that its records refer to; it keeps their names and owners.

        Users and teams are not among them: every service knows them for its rights.
        """
        referred = {
            name
            for own in self.collections
            for name in contract.referred_collections(own.contract.message)
        }
        known = contract.collections()
        return sorted(n for n in referred if known[n].service not in {self.name, "identity"})

    def functions(self, extra: Mapping[str, Any]) -> list[tuple[Method, Callable[..., Any]]]:
        """Every method of the service's packages with its implementation.

        Args:
            extra: Servicers that the kit and the parts add: feed, look-up, events, imports.

        Raises:
            ContractError: A method of the contract has no implementation, or a servicer no contract.
        """
        servicers = {**extra, **self.servicers}
        if unknown := servicers.keys() - contract.services().keys():
            msg = f"{self.name}: no contract declares {', '.join(sorted(unknown))}"
            raise ContractError(msg)
        by_noun = {c.contract.noun: c for c in self.collections}
        found: list[tuple[Method, Callable[..., Any]]] = []
        for full_name, descriptor in contract.services().items():
            if full_name not in servicers and not full_name.startswith(f"crm.{self.name}.v1."):
                continue
            servicer = servicers.get(full_name)
            collection = by_noun.get(descriptor.name.removesuffix("Service"))
            for method in contract.methods_of(descriptor):
                function = getattr(servicer, method.name, None)
                if function is None and collection is not None:
                    function = standard_method(collection, method) or batch_method(
                        collection, method
                    )
                if function is None:
                    msg = f"{method.path} has no implementation in the service.py of {self.name}"
                    raise ContractError(msg)
                found.append((method, function))
        return found

    def keeps(self, parts: Sequence[Part]) -> Personal:
        """Where it keeps personal data, all in all."""
        own = self.personal
        return replace(
            own,
            kept=(*KEPT_BY_ALL, *own.kept),
            nothing=own.nothing | NOTHING_BY_ALL | LOOKED_THROUGH,
            keepers=[part.keeper for part in parts if part.keeper is not None],
        )

    def sources(self) -> set[str]:
        """The services whose events it reads; identity's for rights and customer's for erasures always."""
        known = contract.collections()
        return {
            "identity",
            *({OWNER} - {self.name}),
            *(known[c].service for c in self.knows),
            *(routing_key.split(".")[0] for routing_key in self.consumes),
        }
