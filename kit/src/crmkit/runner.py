"""One service's life: start in order, be ready only when it is, stop without losing anything.

A service has roles that can run in one process or in several: `serve` answers requests, `relay` numbers
and publishes events, `consume` applies other services' events, `jobs` works off durable jobs.
"""

import asyncio
import gc
import signal
import sys
from collections import defaultdict
from collections.abc import Coroutine, Iterable, Mapping
from contextlib import suppress
from typing import Any

import grpc
import prometheus_client
import sqlalchemy as sa
import structlog
import uvloop
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from crmkit import (
    audit,
    clock,
    contract,
    handover,
    known_records,
    logging,
    merging,
    migrations,
    rights_events,
    telemetry,
)
from crmkit.access import RecordScope, service_principal
from crmkit.call import Call, Home, new_call
from crmkit.children.collaborators import CollaboratorService
from crmkit.children.comments import CommentService
from crmkit.children.followers import FollowerService
from crmkit.clients import Clients
from crmkit.custom_field_service import CustomFieldService
from crmkit.db import Database, Transaction
from crmkit.errors import Failure
from crmkit.feed import gauges
from crmkit.feed.consumer import Consumer
from crmkit.feed.event_service import EventService
from crmkit.feed.events import Event
from crmkit.feed.feed import Feed
from crmkit.feed.feed_service import FeedService
from crmkit.feed.pull import GrpcPuller
from crmkit.feed.pull_bus import PullBus
from crmkit.feed.sequencer import Sequencer
from crmkit.interceptors.auth import Authenticator
from crmkit.interceptors.chain import Surroundings, rpc_handler
from crmkit.interceptors.context import Admission
from crmkit.jobs import JobRunner
from crmkit.lookup import LookupService
from crmkit.personal import erasure
from crmkit.personal.declaration import OWNER
from crmkit.personal.service import PersonalDataService
from crmkit.rights import Rights
from crmkit.service import EventHandler, Service
from crmkit.service_tokens import ServiceKeys
from crmkit.settings import ServiceSettings, SettingsError, load
from crmkit.statements import compile_statement
from crmkit.trash import keep_purging

ROLES = ("serve", "relay", "consume", "jobs")
_GRACE_SECONDS = 10.0
_DRAIN_SECONDS = 3.0  # longer than the gateway needs to hear of it
_FIRST_START_LOCK = 0x43524D31
_SERVER_OPTIONS = [
    ("grpc.so_reuseport", 0),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
    # All that the gateway lets through; between the soft limit and the hard one gRPC refuses at random.
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 192 * 1024),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.max_connection_age_ms", 300_000),
    # A file on its way is not cut off with its connection: it may take ten minutes (crmattachments).
    ("grpc.max_connection_age_grace_ms", 660_000),
]
_log = structlog.get_logger("crm.service")


class RunningService:
    """A service of this process, from `start` to `stop`."""

    def __init__(
        self, service: Service, settings: ServiceSettings, roles: Iterable[str] = ROLES
    ) -> None:
        self.service = service
        self.settings = settings
        self.roles = frozenset(roles)
        self.database = Database(
            settings.url_of(service.name), max_connections=settings.max_connections
        )
        keys = ServiceKeys.load(service.name, settings.keys_dir)
        clients = Clients(settings.services, keys)
        self.feed = Feed(self.database)
        self.home = Home(
            name=service.name,
            database=self.database,
            rights=Rights(self.database),
            clients=clients,
            tables={c.name: c.table for c in service.collections},
            collections={c.name: c for c in service.collections},
            settings=settings,
            feed=self.feed,
            audit=service.audit or audit.publish,
            handover=service.handover or handover.publish,
        )
        self._authenticator = Authenticator(self.home.rights, keys, settings.public_url)
        self._itself = service_principal(service.name)
        self.failed = False  # one of its loops ended, which none should
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._server: grpc.aio.Server | None = None
        self._health = health.aio.HealthServicer()
        self._parts = [part(service) for part in service.parts]
        self.home.personal = service.keeps(self._parts)

    # -- starting

    async def start(self) -> None:
        """Returns once requests are answered; rights are known as far as they were read before.

        Raises:
            FailedPrecondition: The database's schema is older than the code.
            Unavailable: The database cannot be reached.
            OSError: The port is taken.
        """
        migrations.require_current(self.settings.url_of(self.service.name), self.service.migrations)
        await self.database.open()
        await self._first_start()
        await self.home.rights.reload()
        await self.home.custom_fields.reload()
        if "serve" in self.roles:
            await self._serve()
        self._run(self.home.rights.keep_fresh(self._stop))
        self._run(self.home.custom_fields.keep_fresh(self._stop))
        if "relay" in self.roles:
            self._relay()

    async def work(self) -> None:
        """Begins to consume events and to do jobs: what needs the other services."""
        if "consume" in self.roles:
            self._consume()
        if "jobs" in self.roles:
            self._run(JobRunner(self.home, self._job_handlers()).run(self._stop))
            self._run(keep_purging(self.home, self.service.collections, self._stop))
        for loop in self.service.loops:
            self._run(loop(self.home, self._stop))
        if self.settings.metrics_port:
            broker = self.settings.amqp_url is not None
            self._run(gauges.keep_measured(self.home, self._stop, broker=broker))
        # What exists now lives as long as the process: the collector need not look at it again.
        gc.collect()
        gc.freeze()
        gc.set_threshold(100_000, 5, 20)

    async def ready(self) -> None:
        """Waits until identity's feed has been read once, then reports SERVING; or until it stops."""
        while not self.home.rights.complete():
            if self._stop.is_set():
                return
            await asyncio.sleep(0.02)
        await self._health.set("", health_pb2.HealthCheckResponse.SERVING)

    async def _first_start(self) -> None:
        prepare = self.service.on_first_start
        if prepare is None:
            return
        async with self.database.transaction() as tx:
            lock = f"SELECT pg_advisory_xact_lock({_FIRST_START_LOCK})"
            await tx.execute(compile_statement(sa.text(lock)))
            await prepare(new_call(self.home, service_principal(self.service.name), tx))

    async def _serve(self) -> None:
        server = grpc.aio.server(options=_SERVER_OPTIONS)
        around = Surroundings(self.home, self._authenticator, Admission())
        handlers: dict[str, dict[str, grpc.RpcMethodHandler[Any, Any]]] = defaultdict(dict)
        for method, function in self.service.functions(self._kit_servicers()):
            service = method.path.split("/")[1]
            handlers[service][method.name] = rpc_handler(method, function, around)
        for service, methods in handlers.items():
            handler = grpc.method_handlers_generic_handler(service, methods)
            server.add_generic_rpc_handlers((handler,))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        reflection.enable_server_reflection([*handlers, reflection.SERVICE_NAME], server)
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        port = self.settings.services[self.service.name].rpartition(":")[2]
        address = f"{self.settings.bind_host}:{port}"
        try:
            server.add_insecure_port(address)
        except RuntimeError as error:
            msg = f"{address} is taken by another program"
            raise OSError(msg) from error
        await server.start()
        self._server = server

    def _kit_servicers(self) -> dict[str, Any]:
        collections = {c.name: c for c in self.service.collections}
        package = f"crm.{self.service.name}.v1"
        servicers: dict[str, Any] = {
            "crm.common.v1.FeedService": FeedService(self.feed),
            "crm.common.v1.LookupService": LookupService(collections),
            "crm.common.v1.PersonalDataService": PersonalDataService(),
        }
        if collections:
            whose = {name: c.whose for name, c in collections.items()}
            servicers[f"{package}.EventService"] = EventService(self.feed, self._visible, whose)
            servicers[f"{package}.CustomFieldService"] = CustomFieldService(collections)
        if f"{package}.CommentService" in contract.services():
            servicers[f"{package}.CommentService"] = CommentService(collections)
            servicers[f"{package}.FollowerService"] = FollowerService(collections)
        if shareable := {c.name: c for c in self.service.collections if c.shareable}:
            servicers[f"{package}.CollaboratorService"] = CollaboratorService(shareable)
        for part in self._parts:
            servicers |= part.servicers
        return servicers

    def _visible(self, call: Call, collection: str) -> RecordScope:
        """The scope in which a caller may read the events of a collection."""
        found = next((c for c in self.service.collections if c.name == collection), None)
        if found is None:
            return RecordScope.NONE
        scope = call.principal.grants.scope(found.permission("get"))
        return min(RecordScope.ALL if found.contract.shared and scope else scope, found.event_scope)

    def _job_handlers(self) -> dict[str, Any]:
        jobs: dict[str, Any] = {
            handover.JOB: handover.hand_over,
            merging.JOB: merging.follow_again,
            erasure.JOB: erasure.erase_and_confirm,
            erasure.AGAIN: erasure.erase_again,
            **self.service.jobs,
        }
        for part in self._parts:
            jobs |= part.jobs
        return jobs

    def _relay(self) -> None:
        self._run(Sequencer(self.database, self.feed).run(self._stop))
        if self.settings.amqp_url is not None:
            from crmkit.feed.publisher import Publisher  # noqa: PLC0415 - only where there is a broker

            url = self.settings.amqp_url.get_secret_value()
            self._run(Publisher(self.database, self.feed, url).run(self._stop))

    # -- consuming

    def _consume(self) -> None:
        for source in sorted(self.service.sources()):
            if source not in self.settings.services:
                _log.warning("a source is not part of this deployment", source=source)
                continue
            consumer = self.consumer(source)
            self.home.consumed[source] = consumer.status
            self._run(self._bus(consumer).run(self._stop))

    def consumer(self, source: str) -> Consumer:
        """What applies another service's events here, not driven by anything yet."""
        clients = self.home.clients
        return Consumer(
            source,
            self.database,
            self._handlers(source),
            self._call_of,
            GrpcPuller(clients.channel(source), clients.as_service),
            on_batch_applied=self._rights_changed if source == "identity" else None,
        )

    def _bus(self, consumer: Consumer) -> Any:
        if self.settings.amqp_url is None:
            return PullBus(consumer)
        from crmkit.feed.amqp import AmqpBus  # noqa: PLC0415 - only where there is a broker

        return AmqpBus(self.service.name, consumer, self.settings.amqp_url.get_secret_value())

    def _handlers(self, source: str) -> dict[str, list[EventHandler]]:
        tables: list[Mapping[str, EventHandler]] = [
            rights_events.HANDLERS,
            *([handover.HANDLERS] if self.service.collections else []),
            known_records.handlers(self.service.knows),
            erasure.HANDLERS if self.service.name != OWNER else {},
            self.service.consumes,
        ]
        found: dict[str, list[EventHandler]] = defaultdict(list)
        for table in tables:
            for pattern, handler in table.items():
                if pattern.split(".")[0] == source:
                    found[pattern].append(handler)
        return dict(found)

    def _call_of(self, tx: Transaction, event: Event) -> Call:
        return Call(
            home=self.home,
            principal=self._itself,
            now=clock.now(),
            tx=tx,
            correlation_id=event.correlation_id,
            causation_id=event.wire.event_id,
            traceparent=event.traceparent,
            imported=event.imported,
        )

    async def _rights_changed(self, _events: list[Event]) -> None:
        await self.home.rights.reload()

    # -- stopping

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        task.add_done_callback(self._watch)
        self._tasks.append(task)

    def _watch(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            _log.error("a loop ended", service=self.service.name, exc_info=task.exception())
            self.failed = True
            self._stop.set()

    @property
    def stopping(self) -> asyncio.Event:
        """Set when the service stops, or must be stopped because one of its loops ended."""
        return self._stop

    async def stop(self, *, drain_seconds: float = _DRAIN_SECONDS) -> None:
        """Says NOT_SERVING, lets requests end, then stops the loops and closes the database."""
        await self._health.set("", health_pb2.HealthCheckResponse.NOT_SERVING)
        if self._server is not None:
            await asyncio.sleep(drain_seconds)
            self.feed.close()  # ends the streams that others read it by
            await self._server.stop(_GRACE_SECONDS)
        self._stop.set()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.home.clients.close()
        await self.database.close()


async def run(service: Service, settings: ServiceSettings, roles: Iterable[str] = ROLES) -> bool:
    """Runs a service until SIGTERM or SIGINT; False if it had to stop for a failure of its own."""
    running = RunningService(service, settings, roles)
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, running.stopping.set)
    await running.start()
    await running.work()
    await running.ready()
    _log.info("ready", service=service.name, roles=sorted(running.roles))
    await running.stopping.wait()
    await running.stop()
    return not running.failed


def main(service: Service, roles: Iterable[str] = ROLES) -> None:
    """The entry point of a service's process; what keeps it from starting is told in plain words."""
    try:
        settings = load(service.settings)
    except SettingsError as error:
        sys.exit(f"{service.name} cannot start:\n{error}")
    logging.configure(settings.log_level, service=service.name)
    if settings.metrics_port:
        prometheus_client.start_http_server(settings.metrics_port, addr=settings.bind_host)
    if settings.otlp_endpoint:
        telemetry.start_tracing(service.name, settings.otlp_endpoint)
    try:
        with suppress(KeyboardInterrupt):
            if not uvloop.run(run(service, settings, roles)):
                sys.exit(f"{service.name} stopped: one of its loops ended, see the log")
    except Failure as error:
        sys.exit(f"{service.name} cannot start: {error}")
