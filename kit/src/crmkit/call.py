"""One piece of work: a request being answered, an event being applied, or a job.

Whatever changes records takes a `Call`: it knows who acts, when, why, and in which transaction.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from crmkit import clock
from crmkit.access import Principal
from crmkit.clients import CAUSED_BY, Clients
from crmkit.consumer_status import ConsumerStatus
from crmkit.contract import Method
from crmkit.custom_fields.definitions import CustomFields
from crmkit.db import Database, Executor, Transaction
from crmkit.ids import uuid7
from crmkit.organization import Organization
from crmkit.rights import Rights


@dataclass(slots=True)
class Home:
    """The running service that work is done in: its database and what it knows of the others.

    Attributes:
        name: The service's name.
        tables: Collection → table of the resources it owns.
        custom_fields: What the organisation adds to them.
        collections: The same resources, as the kit's `Collection`s.
        settings: What it read from the environment.
        feed: Its own events, a `crmkit.feed.feed.Feed`.
        audit: Keeps an entry for the audit log, as `crmkit.audit.publish` does.
        handover: Tells how far this service's part of a hand-over is, as `crmkit.handover.publish` does.
        personal: Where it keeps personal data, a `crmkit.personal.declaration.Personal`.
        consumed: Service → how far this process is with its events; empty where it does not consume.
    """

    name: str
    database: Database
    rights: Rights
    clients: Clients
    tables: Mapping[str, sa.Table] = field(default_factory=dict)
    collections: Mapping[str, Any] = field(default_factory=dict)
    custom_fields: CustomFields = field(init=False)
    settings: Any = None
    audit: Any = None
    handover: Any = None
    personal: Any = None
    consumed: dict[str, ConsumerStatus] = field(default_factory=dict)
    feed: Any = None

    def __post_init__(self) -> None:
        """Nothing is known of custom fields until they are read."""
        self.custom_fields = CustomFields(self.database)


async def _nothing_to_begin() -> None:
    return


@dataclass(slots=True)
class Call:
    """One piece of work.

    Attributes:
        home: The running service.
        principal: Who acts.
        now: The instant that everything in this work carries.
        tx: The transaction; begins with its first statement.
        correlation_id: The request that started it all.
        causation_id: The event, or the bulk action, that caused this work, if any.
        traceparent: W3C trace context of this work, for what it causes.
        imported: True while an import writes: automations stay quiet.
        source: The system that the values come from; empty for people and where nobody says.
        restoring: True while a record gets old values back: what rules had made of them comes along.
        method: The RPC being answered; None while applying events or running jobs.
        metadata: The request's metadata, lower-case keys.
        response_headers: Metadata to send before the answer.
        begin_answer: Sends the headers of a stream before there is a message; called at most once.
        span: The request's span while tracing is on.
        state: What parts of the same work tell one another.
    """

    home: Home
    principal: Principal
    now: datetime
    tx: Transaction
    correlation_id: str = ""
    causation_id: str = ""
    traceparent: str = ""
    imported: bool = False
    source: str = ""
    restoring: bool = False
    method: Method | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    response_headers: list[tuple[str, str]] = field(default_factory=list)
    begin_answer: Callable[[], Awaitable[None]] = _nothing_to_begin
    span: Any = None
    state: dict[Any, Any] = field(default_factory=dict)

    @property
    def reader(self) -> Executor:
        """Where to read: the transaction once it has begun, else a connection of its own."""
        return self.tx if self.tx.begun else self.home.database

    @property
    def organization(self) -> Organization:
        """The organisation's settings, as this service knows them now."""
        return self.home.rights.organization

    @property
    def client_address(self) -> str:
        """Where the request came from, as the gateway saw it; empty where it did not pass one."""
        return self.metadata.get("x-crm-client-address", "")[:45]

    def metadata_for_others(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call to another service, with the rights of whoever this work is done for."""
        authorization = self.metadata.get("authorization")
        by, identity = self.principal, tuple[tuple[str, str], ...]()
        if authorization and by.service is None:
            identity = (("authorization", authorization),)
        else:  # work of our own, or asked for by a service: its token alone would give its rights
            identity = self.home.clients.as_service(by.name if by.user else "", by.limits)
        trace = (("traceparent", self.traceparent),) if self.traceparent else ()
        cause = ((CAUSED_BY, self.causation_id),) if self.causation_id else ()
        return (*identity, ("x-request-id", self.correlation_id), *trace, *cause)


def new_call(home: Home, principal: Principal, tx: Transaction | None = None) -> Call:
    """Work that no request started: a job, or the first start."""
    return Call(
        home=home,
        principal=principal,
        now=clock.now(),
        tx=tx or Transaction(home.database),
        correlation_id=str(uuid7()),
    )
