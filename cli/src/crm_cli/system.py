"""The whole system in one process: embedded PostgreSQL, every service, the edge and Envoy.

`crm up`, the system tests and the benchmarks all run this. Everything it keeps lies in one folder.
"""

import asyncio
import fcntl
import json
import secrets
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from crm_cli.envoy_process import EnvoyProcess
from crm_cli.local_settings import keep_addresses
from crm_cli.services import NAMES, service
from crmkit import migrations
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.files import write_secret
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from gateway.descriptors import write_descriptors
from gateway.edge import serve_edge
from gateway.envoy import render
from gateway.settings import EdgeSettings, EnvoySettings

_HIGHEST_PORT = 65_000
_READY_SECONDS = 60.0
_SECONDS_BETWEEN_LOOKS = 0.5


class StartFailedError(Exception):
    """The system could not be started; the message tells a person what to do."""


@dataclass(frozen=True)
class SystemOptions:
    """What `crm up` may be told.

    Attributes:
        data_dir: The folder that everything is kept in.
        durable: False only for tests and benchmarks of speed without safety.
        amqp_url: A message bus; without it consumers pull.
        smtp_url: The server for outgoing mail; without it none is sent.
        attachments_url: Where attached files are kept; without it in `data_dir`.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    admin_email: str = "admin@example.com"
    admin_password: str = ""
    durable: bool = True
    amqp_url: str = ""
    smtp_url: str = ""
    mail_from: str = ""
    attachments_url: str = ""
    attachments_access_key: str = ""
    attachments_secret_key: str = ""
    attachments_max_mib: int = 25
    rate_limit: int = 6000
    reflection: bool = True
    cors_origins: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    webhook_allow_networks: str = ""
    services: Sequence[str] = NAMES

    @property
    def url(self) -> str:
        """Where people find the system."""
        return self.public_url or f"http://{self.host}:{self.port}"


@dataclass
class System:
    """The running system."""

    options: SystemOptions
    postgres: EmbeddedPostgres
    envoy: EnvoyProcess
    addresses: Mapping[str, str]
    admin_email: str
    admin_password: str
    first_start: bool
    running: dict[str, RunningService] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway, for REST, gRPC and gRPC-Web."""
        return self.options.url

    def password_shown(self) -> None:
        """The administrator's password has been seen: later starts say it no more."""
        kept = self.options.data_dir / "admin.json"
        write_secret(kept, json.dumps({**json.loads(kept.read_text()), "shown": True}))

    async def failed(self) -> str:
        """Waits until a part of the system ends by itself; answers which."""
        while True:
            for name, running in self.running.items():
                if running.stopping.is_set():
                    return f"The service {name}"
            if self.envoy.ended():
                return "Envoy"
            if self.postgres.ended():
                return "PostgreSQL"
            await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def _say_nothing(_step: str) -> None:
    return None


@asynccontextmanager
async def running_system(
    options: SystemOptions, say: Callable[[str], None] = _say_nothing
) -> AsyncIterator[System]:
    """Starts everything in order and stops it in reverse; `say` is told each step.

    Raises:
        StartFailedError: The folder or a port is taken, or a part did not become ready.
    """
    data_dir = options.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        stack.enter_context(_sole_user_of(data_dir))
        envoy = EnvoyProcess(data_dir / "gateway")
        await _to_its_end(envoy.end_leftover)
        _require_free(options.host, options.port)
        say("PostgreSQL")
        postgres = EmbeddedPostgres(data_dir, durable=options.durable)
        stack.callback(postgres.stop)
        await _to_its_end(postgres.start)
        admin = _administrator(options, data_dir)
        system = System(
            options=options,
            postgres=postgres,
            envoy=envoy,
            addresses={name: f"127.0.0.1:{free_port()}" for name in options.services},
            admin_email=admin["email"],
            admin_password=admin["password"],
            first_start=not admin.get("shown"),
        )
        say("databases")
        await _to_its_end(_prepare_databases, system)
        create_service_keys(data_dir / "keys", list(NAMES))
        keep_addresses(data_dir, system.addresses)
        for name in options.services:
            say(name)
            await _start_service(system, name, stack)
        for running in system.running.values():
            await running.work()
        say("rights")
        await _services_ready(system)
        # Only now: Envoy asks each service's health as it starts, and again only seconds later.
        say("gateway")
        await _start_gateway(system, stack)
        await _gateway_ready(system)
        yield system


async def _to_its_end(work: Callable[..., None], *arguments: object) -> None:
    """Runs blocking work in a thread; who cancels it waits: nothing is left half started."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))
    try:
        await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait({running})
        raise


@contextmanager
def _sole_user_of(data_dir: Path) -> Iterator[None]:
    """Keeps a second system from the folder; the lock ends with the process, however that ends."""
    with (data_dir / "crm.lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            msg = (
                f"The folder {data_dir} is in use by another running system;"
                " stop that one, or choose another folder: CRM_DATA_DIR=other"
            )
            raise StartFailedError(msg) from error
        yield


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            msg = (
                f"Port {port} on {host} is taken ({error.strerror});"
                f" choose another: CRM_PORT={port + 10 if port < _HIGHEST_PORT else 8090}"
            )
            raise StartFailedError(msg) from error


def _administrator(options: SystemOptions, data_dir: Path) -> dict[str, Any]:
    """The first administrator; kept, because a first start may be interrupted before it is told."""
    kept = data_dir / "admin.json"
    if not kept.exists():
        password = options.admin_password or secrets.token_urlsafe(12)
        write_secret(kept, json.dumps({"email": options.admin_email, "password": password}))
    administrator: dict[str, Any] = json.loads(kept.read_text())
    return administrator


def _prepare_databases(system: System) -> None:
    for name in system.options.services:
        system.postgres.create_database(name)
        migrations.migrate(system.postgres.url(name), service(name).migrations)


async def _start_service(system: System, name: str, stack: AsyncExitStack) -> None:
    declared = service(name)
    options = system.options
    folder = options.data_dir.resolve()
    values: dict[str, object] = {
        "database_url": system.postgres.url("{service}").replace("%7Bservice%7D", "{service}"),
        "services": dict(system.addresses),
        "keys_dir": folder / "keys",
        "public_url": options.url,
        "amqp_url": options.amqp_url or None,
        "smtp_url": options.smtp_url,
        "mail_from": options.mail_from,
        "attachments_url": options.attachments_url or folder.joinpath("attachments").as_uri(),
        "attachments_access_key": options.attachments_access_key,
        "attachments_secret_key": options.attachments_secret_key,
        "attachments_max_mib": options.attachments_max_mib,
    }
    if "admin_email" in declared.settings.model_fields:
        values |= {"admin_email": system.admin_email, "admin_password": system.admin_password}
    if "webhook_allow_networks" in declared.settings.model_fields:
        values["webhook_allow_networks"] = options.webhook_allow_networks
    running = RunningService(declared, declared.settings.model_validate(values))
    await running.start()
    stack.push_async_callback(running.stop, drain_seconds=0)
    system.running[name] = running


async def _start_gateway(system: System, stack: AsyncExitStack) -> None:
    options = system.options
    edge_settings = EdgeSettings(
        services=system.addresses,
        http_port=free_port(),
        grpc_port=free_port(),
        public_url=options.url,
        reflection=options.reflection,
    )
    edge = await stack.enter_async_context(serve_edge(edge_settings))
    folder = options.data_dir.resolve() / "gateway"
    folder.mkdir(exist_ok=True)
    write_descriptors(folder / "api.binpb")
    bootstrap = render(
        EnvoySettings(
            services=system.addresses,
            edge_http=f"127.0.0.1:{edge.http_port}",
            edge_grpc=f"127.0.0.1:{edge.grpc_port}",
            descriptors=folder / "api.binpb",
            host=options.host,
            port=options.port,
            public_url=options.url,
            rate_limit=options.rate_limit,
            cors_origins=options.cors_origins,
            hosts=options.hosts,
        )
    )
    stack.push_async_callback(system.envoy.stop)
    system.envoy.start(bootstrap)


async def _services_ready(system: System) -> None:
    try:
        async with asyncio.timeout(_READY_SECONDS):
            for running in system.running.values():
                await running.ready()
    except TimeoutError as error:
        msg = f"The services were not ready within {_READY_SECONDS:.0f} s; their log is above."
        raise StartFailedError(msg) from error


async def _gateway_ready(system: System) -> None:
    local = f"http://{system.options.host}:{system.options.port}/readyz"
    try:
        async with asyncio.timeout(_READY_SECONDS), httpx.AsyncClient(trust_env=False) as client:
            while not await _answers(client, local):  # noqa: ASYNC110 - once, while starting
                await asyncio.sleep(0.05)
    except TimeoutError as error:
        msg = f"The gateway was not ready within {_READY_SECONDS:.0f} s; see {system.envoy.log}"
        raise StartFailedError(msg) from error


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url, timeout=2)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
