"""Feeds of other services with events that a test makes up."""

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from google.protobuf.message import Message

from crm.options.v1 import options_pb2
from crmkit import migrations
from crmkit.clock import now
from crmkit.contract import events, methods_of, services
from crmkit.db import Database
from crmkit.feed.feed import Feed
from crmkit.feed.feed_service import FeedService
from crmkit.feed.outbox import OutboxEvent, append
from crmkit.feed.sequencer import Sequencer
from crmkit.ids import uuid7
from crmkit.ports import free_port
from crmkit.testing.postgres import TestServer


@dataclass
class EventMaker:
    """Makes events of records; counts their versions."""

    versions: Counter[str] = field(default_factory=Counter)

    def make(self, message: Message, **attributes: Any) -> OutboxEvent:
        """The event in which the record first in this message, or `subject`, has its next version."""
        routing_key = message.DESCRIPTOR.GetOptions().Extensions[options_pb2.event]
        subject = attributes.pop("subject", "")
        if not subject:
            subject = getattr(message, events()[routing_key].subject_field).name
        self.versions[subject] += 1
        values: dict[str, Any] = {
            "time": now(),
            "effective_time": now(),
            "actor": "services/test",
            "owner": None,
            "team": None,
            "imported": False,
            "correlation_id": "",
            "causation_id": "",
            "traceparent": "",
            "event_index": 0,
            **attributes,
        }
        return OutboxEvent(
            event_id=uuid7(),
            type=message.DESCRIPTOR.full_name,
            routing_key=routing_key,
            subject=subject,
            subject_version=self.versions[subject],
            payload=message.SerializeToString(deterministic=True),
            **values,
        )


class FeedHost:
    """A feed served over gRPC for every service at once: each consumer takes its own events.

    `handlers` are further gRPC methods that the test's service calls.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.feed = Feed(database)
        self.address = f"127.0.0.1:{free_port()}"
        self.handlers: list[Any] = []
        self._maker = EventMaker()
        self._server: grpc.aio.Server | None = None

    async def start(self) -> None:
        """Serves."""
        servicer: Any = FeedService(self.feed)
        methods = {}
        for method in methods_of(services()["crm.common.v1.FeedService"]):
            make = (
                grpc.unary_stream_rpc_method_handler
                if method.server_streaming
                else grpc.unary_unary_rpc_method_handler
            )
            methods[method.name] = make(
                getattr(servicer, method.name),
                method.input.FromString,
                method.output.SerializeToString,
            )
        feed = grpc.method_handlers_generic_handler("crm.common.v1.FeedService", methods)
        self._server = grpc.aio.server()
        self._server.add_generic_rpc_handlers((feed, *self.handlers))
        self._server.add_insecure_port(self.address)
        await self._server.start()

    async def stop(self) -> None:
        """Ends."""
        if self._server is not None:
            self.feed.close()
            await self._server.stop(0)
        await self.database.close()

    async def publish(self, message: Message, **attributes: Any) -> OutboxEvent:
        """Appends an event; attributes are those of the envelope: owner, team, actor."""
        event = self._maker.make(message, **attributes)
        async with self.database.transaction() as tx:
            await append(tx, [event])
        sequencer = Sequencer(self.database, self.feed)
        try:
            await sequencer.run_once()
        finally:
            await sequencer.close()
        return event


@asynccontextmanager
async def feed_host(postgres: TestServer, tables_of: Path) -> AsyncIterator[FeedHost]:
    """A feed host with a database of its own, made by some service's migrations."""
    template = postgres.template_database(
        tables_of.parent.name, lambda url: migrations.migrate(url, tables_of)
    )
    url = postgres.new_database(template)
    database = Database(url, max_connections=4)
    await database.open()
    host = FeedHost(database)
    try:
        yield host
    finally:
        await host.stop()
        postgres.drop(url)
