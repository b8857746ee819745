"""A source with a real feed over gRPC, and consumers of it that note what they apply."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import grpc
import psycopg
import pytest

from crm.common.v1 import feed_pb2
from crm.customer.v1 import account_pb2
from crmkit.access import Principal, service_principal
from crmkit.call import Call, Home
from crmkit.clock import now
from crmkit.db import Database, Transaction
from crmkit.feed import outbox
from crmkit.feed.consumer import Consumer, Handler
from crmkit.feed.events import Event
from crmkit.feed.feed import Feed
from crmkit.feed.feed_service import FeedService
from crmkit.feed.outbox import OutboxEvent
from crmkit.feed.pull import GrpcPuller
from crmkit.feed.sequencer import Sequencer
from crmkit.ids import uuid7
from crmkit.statements import Statement
from crmkit.testing import free_port
from crmkit.testing.postgres import create_platform_tables

# What a consumer applied; no unique key, so that a second application would show.
_LEDGER = """
    CREATE TABLE ledger (
        id bigint GENERATED ALWAYS AS IDENTITY, feed_seq bigint, subject text, version bigint
    );
    CREATE TABLE account (version bigint);
"""
_NOTE = Statement(
    "INSERT INTO ledger (feed_seq, subject, version)"
    " VALUES (%(feed_seq)s, %(subject)s, %(version)s)",
    {},
)
_READ_LEDGER = Statement("SELECT feed_seq, subject, version FROM ledger ORDER BY id", {})


def prepare(url: str) -> None:
    create_platform_tables(url)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(_LEDGER)


def new_event(subject: str, version: int = 1, **changes: Any) -> OutboxEvent:
    message = account_pb2.AccountCreated()
    message.account.name = subject
    values: dict[str, Any] = {
        "event_id": uuid7(),
        "type": message.DESCRIPTOR.full_name,
        "routing_key": "customer.account.created",
        "subject": subject,
        "subject_version": version,
        "event_index": 0,
        "time": now(),
        "effective_time": now(),
        "actor": f"users/{uuid7()}",
        "owner": uuid7(),
        "team": None,
        "imported": False,
        "correlation_id": str(uuid7()),
        "causation_id": "",
        "traceparent": "",
        "payload": message.SerializeToString(deterministic=True),
    }
    return OutboxEvent(**{**values, **changes})


def new_subject() -> str:
    return f"accounts/{uuid7()}"


@dataclass
class Source:
    """A service that publishes."""

    database: Database
    feed: Feed
    sequencer: Sequencer
    puller: GrpcPuller
    address: str

    async def publish(self, *events: OutboxEvent) -> None:
        """Commits events and gives them their numbers."""
        await self.write(*events)
        while await self.sequencer.run_once():
            pass

    async def write(self, *events: OutboxEvent) -> None:
        async with self.database.transaction() as tx:
            await outbox.append(tx, events)

    async def log(self) -> list[feed_pb2.FeedEvent]:
        events: list[feed_pb2.FeedEvent] = []
        while page := await self.feed.read(len(events), 1000):
            events.extend(page)
        return events


@asynccontextmanager
async def open_database(url: str) -> AsyncIterator[Database]:
    database = Database(url)
    await database.open()
    try:
        yield database
    finally:
        await database.close()


@asynccontextmanager
async def serve(feed: Feed, address: str) -> AsyncIterator[None]:
    """The feed's service as the kit serves it, without the interceptors."""
    service = FeedService(feed)

    def unary(name: str, request: Any) -> grpc.RpcMethodHandler:
        async def answer(request: Any, _context: Any) -> Any:
            return await getattr(service, name)(request, None)

        return grpc.unary_unary_rpc_method_handler(
            answer,
            request_deserializer=request.FromString,
            response_serializer=lambda message: message.SerializeToString(),
        )

    async def stream(request: Any, _context: Any) -> AsyncIterator[Any]:
        async for piece in service.StreamEvents(request, None):  # type: ignore[arg-type]
            yield piece

    handlers = {
        "GetHead": unary("GetHead", feed_pb2.GetHeadRequest),
        "ListEvents": unary("ListEvents", feed_pb2.ListFeedEventsRequest),
        "StreamEvents": grpc.unary_stream_rpc_method_handler(
            stream,
            request_deserializer=feed_pb2.StreamFeedEventsRequest.FromString,
            response_serializer=feed_pb2.StreamFeedEventsResponse.SerializeToString,
        ),
    }
    server = grpc.aio.server()
    server.add_generic_rpc_handlers(
        (grpc.method_handlers_generic_handler("crm.common.v1.FeedService", handlers),)
    )
    server.add_insecure_port(address)
    await server.start()
    try:
        yield
    finally:
        await server.stop(0)


@dataclass
class Reader:
    """A service that consumes, with a ledger of what it applied."""

    database: Database
    home: Home
    source: Source
    fails: set[str] = field(default_factory=set)
    fails_with: Callable[[Transaction], Awaitable[None]] | None = None
    committed: list[int] = field(default_factory=list)

    def consumer(
        self,
        handlers: dict[str, Sequence[Handler]] | None = None,
        puller: Any = None,
        database: Database | None = None,
    ) -> Consumer:
        return Consumer(
            "customer",
            database or self.database,
            handlers if handlers is not None else {"#": [self.note]},
            self.call,
            puller or self.source.puller,
            on_batch_applied=self._committed,
            retry_seconds=(0.0, 0.0),
        )

    def call(self, tx: Transaction, event: Event) -> Call:
        return Call(
            home=self.home,
            principal=service_principal("sales"),
            now=now(),
            tx=tx,
            causation_id=str(event.event_id),
        )

    async def note(self, event: Event, call: Call) -> None:
        """The handler of these tests: writes the ledger, and fails for the subjects in `fails`."""
        if event.subject in self.fails:
            if self.fails_with is None:
                msg = "poison"
                raise ValueError(msg)
            await self.fails_with(call.tx)
        await call.tx.execute(
            _NOTE,
            {
                "feed_seq": event.feed_seq,
                "subject": event.subject,
                "version": event.subject_version,
            },
        )

    async def _committed(self, events: list[Event]) -> None:
        self.committed.extend(event.feed_seq for event in events)

    async def ledger(self) -> list[tuple[int, str, int]]:
        return await self.database.fetch_all(_READ_LEDGER)  # type: ignore[return-value]

    async def applied(self) -> list[int]:
        return [row[0] for row in await self.ledger()]


@pytest.fixture
def feed_database(template_database: Any, new_database: Any) -> Callable[[], str]:
    """Creates databases with the kit's tables and an empty ledger."""
    template = template_database("feed", prepare)
    return lambda: new_database(template)


@pytest.fixture
async def source(feed_database: Callable[[], str]) -> AsyncIterator[Source]:
    address = f"127.0.0.1:{free_port()}"
    async with AsyncExitStack() as stack:
        database = await stack.enter_async_context(open_database(feed_database()))
        feed = Feed(database)
        sequencer = Sequencer(database, feed)
        stack.push_async_callback(sequencer.close)
        await stack.enter_async_context(serve(feed, address))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(address))
        yield Source(database, feed, sequencer, GrpcPuller(channel, tuple), address)


@pytest.fixture
async def reader(feed_database: Callable[[], str], source: Source) -> AsyncIterator[Reader]:
    async with open_database(feed_database()) as database:
        yield Reader(database, home_of(database), source)


def home_of(database: Database) -> Home:
    nothing: Any = None  # handlers here ask for neither rights nor other services
    return Home("sales", database, nothing, nothing)


def call_of(database: Database, principal: Principal) -> Call:
    return Call(home=home_of(database), principal=principal, now=now(), tx=Transaction(database))


@pytest.fixture
async def run() -> AsyncIterator[Callable[[Any], None]]:
    """Runs loops, `run(loop.run)`, until the test ends."""
    stop = asyncio.Event()
    tasks: list[asyncio.Task[None]] = []
    yield lambda loop: tasks.append(asyncio.ensure_future(loop(stop)))
    stop.set()
    await asyncio.gather(*tasks)


def id_of(name: str) -> UUID:
    return UUID(name.rpartition("/")[2])
