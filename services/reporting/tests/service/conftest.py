"""Feeds with events that a test makes up, and a reporting service that reads them."""

from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

import grpc
import pytest_asyncio
from google.protobuf.message import Message

from crm.identity.v1.user_pb2 import BatchGetUsersRequest, BatchGetUsersResponse, User
from crm.options.v1 import options_pb2
from crm.reporting.v1.projection_pb2 import GetProjectionStatusRequest, ProjectionStatus
from crm.reporting.v1.projection_pb2_grpc import ProjectionServiceStub
from crmkit import migrations
from crmkit.access import Principal, service_principal
from crmkit.call import Home, new_call
from crmkit.clients import Clients
from crmkit.contract import events, methods_of, services
from crmkit.db import Database
from crmkit.feed.events import Event, unchained
from crmkit.feed.feed import Feed
from crmkit.feed.feed_service import FeedService
from crmkit.feed.outbox import OutboxEvent, append
from crmkit.feed.sequencer import Sequencer
from crmkit.ports import free_port
from crmkit.rights import Rights
from crmkit.schema import EVENT_COLUMNS
from crmkit.service_tokens import ServiceKeys, create_service_keys
from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.polling import eventually
from crmkit.testing.postgres import TestServer
from reporting.projections.handlers import HANDLERS, sources
from reporting.queries.query import Answer, Limits, ask
from reporting.queries.statement import Question
from reporting.service import SERVICE
from reporting.storage.facts import FACTS

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)


@dataclass
class EventMaker:
    """Makes events of records; counts their versions."""

    versions: Counter[str] = field(default_factory=Counter)

    def make(self, message: Message) -> OutboxEvent:
        """The event in which the record first in this message has its next version."""
        routing_key = message.DESCRIPTOR.GetOptions().Extensions[options_pb2.event]
        record: Any = getattr(message, events()[routing_key].subject_field)
        self.versions[record.name] += 1
        return OutboxEvent(
            event_id=uuid4(),
            type=message.DESCRIPTOR.full_name,
            routing_key=routing_key,
            subject=record.name,
            subject_version=self.versions[record.name],
            event_index=0,
            time=NOON,
            effective_time=NOON,
            actor="services/test",
            owner=None,
            team=None,
            imported=False,
            correlation_id="",
            causation_id="",
            traceparent="",
            payload=message.SerializeToString(deterministic=True),
        )


class FeedHost:
    """A feed served over gRPC for every service at once: each consumer takes its own events."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.feed = Feed(database)
        self.address = f"127.0.0.1:{free_port()}"
        self.people: dict[str, str] = {}  # name → display name, for those who ask as `asked_as`
        self.asked_as = ""
        self._maker = EventMaker()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        servicer: Any = FeedService(self.feed)
        handlers = {}
        for method in methods_of(services()["crm.common.v1.FeedService"]):
            make = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            handlers[method.name] = make(
                getattr(servicer, method.name),
                method.input.FromString,
                method.output.SerializeToString,
            )
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("crm.common.v1.FeedService", handlers),)
        )
        users = {
            "BatchGetUsers": grpc.unary_unary_rpc_method_handler(
                self._batch_get_users,
                BatchGetUsersRequest.FromString,
                BatchGetUsersResponse.SerializeToString,
            )
        }
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("crm.identity.v1.UserService", users),)
        )
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def _batch_get_users(
        self, request: BatchGetUsersRequest, context: Any
    ) -> BatchGetUsersResponse:
        if dict(context.invocation_metadata()).get("authorization") != self.asked_as:
            await context.abort(grpc.StatusCode.PERMISSION_DENIED, "not with this token")
        people = [User(name=name, display_name=self.people[name]) for name in request.names]
        return BatchGetUsersResponse(users=people)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
        await self.database.close()

    async def publish(self, *messages: Message) -> int:
        """Appends events in order; returns the last one's number."""
        async with self.database.transaction() as tx:
            await append(tx, [self._maker.make(message) for message in messages])
        sequencer = Sequencer(self.database, self.feed)
        try:
            await sequencer.run_once()
        finally:
            await sequencer.close()
        return (await self.feed.head()).last_seq

    async def restore_to_empty(self) -> None:
        """The feed as restored from before its first event: another identity, nothing in it."""
        async with self.database.connection() as connection:
            await connection.execute("TRUNCATE event_log")
            await connection.execute(
                "UPDATE relay_state SET feed_id = gen_random_uuid(), last_seq = 0, last_chain = ''"
            )
        self.feed = Feed(self.database)
        self._maker = EventMaker()
        if self._server is not None:
            await self._server.stop(0)
        await self.start()


@dataclass
class Reporting:
    """A reporting service, the feeds it reads, and what tests ask of it."""

    service: ServiceUnderTest
    feeds: FeedHost
    metadata: tuple[tuple[str, str], ...]

    @property
    def projection(self) -> Any:
        return ProjectionServiceStub(self.service.channel)

    async def status(self, *, hash_facts: bool = False) -> ProjectionStatus:
        status: ProjectionStatus = await self.projection.GetProjectionStatus(
            GetProjectionStatusRequest(hash_facts=hash_facts), metadata=self.metadata
        )
        return status

    async def publish(self, *messages: Message) -> None:
        """Publishes events and waits until they are applied."""
        last = await self.feeds.publish(*messages)
        await self.applied(last)

    async def applied(self, last: int) -> None:
        async def level() -> bool:
            status = await self.status()
            return all(source.applied_seq == last for source in status.sources)

        await eventually(level, timeout=30)

    async def facts_hash(self) -> str:
        return (await self.status(hash_facts=True)).facts_hash


@asynccontextmanager
async def _reporting(postgres: TestServer) -> AsyncIterator[Reporting]:
    url = postgres.new_database(_template(postgres))
    database = Database(url, max_connections=4)
    await database.open()
    feeds = FeedHost(database)
    await feeds.start()
    try:
        async with service_under_test(
            SERVICE,
            postgres,
            roles=("serve", "relay", "consume", "jobs"),
            addresses=dict.fromkeys(sources(), feeds.address),
        ) as service:
            admin = await service.person("*")
            yield Reporting(service, feeds, admin.metadata)
    finally:
        await feeds.stop()
        postgres.drop(url)


def _template(postgres: TestServer) -> str:
    return postgres.template_database(
        "reporting", lambda url: migrations.migrate(url, SERVICE.migrations)
    )


@pytest_asyncio.fixture
async def reporting(postgres: TestServer) -> AsyncIterator[Reporting]:
    """A reporting service with nothing in it."""
    async with _reporting(postgres) as running:
        yield running


@dataclass
class Facts:
    """A database of facts into which a test feeds events by hand."""

    home: Home
    maker: EventMaker = field(default_factory=EventMaker)

    def events(self, *messages: Message) -> list[Event]:
        """The events of these messages, as a consumer hands them to handlers."""
        made = [self.maker.make(message) for message in messages]
        rows = [tuple(getattr(event, name) for name in EVENT_COLUMNS) for event in made]
        return [Event(unchained(number, row)) for number, row in enumerate(rows, start=1)]

    async def apply(self, events: Sequence[Event]) -> None:
        """Runs the handlers of these events, in one transaction."""
        async with self.home.database.transaction() as tx:
            call = new_call(self.home, service_principal("reporting"), tx)
            for event in events:
                prefix = event.routing_key.rpartition(".")[0]
                await HANDLERS[f"{prefix}.*"](event, call)

    async def ask(
        self, question: Question, principal: Principal | None = None, **limits: Any
    ) -> Answer:
        """The answer to a question, at noon."""
        by = principal or service_principal("reporting")
        return await ask(self.home.database, by, question, Limits(**limits), NOON)

    async def forget(self) -> None:
        """Empties all facts."""
        tables = ", ".join(FACTS.tables)
        async with self.home.database.connection() as connection:
            await connection.execute(f"TRUNCATE {tables}")
        self.maker = EventMaker()


@pytest_asyncio.fixture
async def facts(
    postgres: TestServer, new_database: Callable[[str | None], str], tmp_path: Path
) -> AsyncIterator[Facts]:
    """Facts alone, without a running service around them."""
    create_service_keys(tmp_path, ["reporting"])
    clients = Clients({}, ServiceKeys.load("reporting", tmp_path))
    database = Database(new_database(_template(postgres)), max_connections=4)
    await database.open()
    yield Facts(Home("reporting", database, Rights(database), clients))
    await database.close()
