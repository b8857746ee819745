"""The whole system in one process: embedded PostgreSQL, every service, the edge and Envoy.

`crm up`, the system tests and the benchmarks all run this. Everything it keeps lies in one folder.
"""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from crm_cli.services import NAMES, service
from crmkit import migrations
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ports import free_port
from crmkit.runner import RunningService
from crmkit.service_tokens import create_service_keys
from gateway.descriptors import write_descriptors
from gateway.edge import serve_edge
from gateway.envoy import envoy_command, render
from gateway.settings import EdgeSettings, EnvoySettings

_READY_SECONDS = 60.0


class StartFailedError(Exception):
    """The system could not be started; the message tells a person what to do."""


@dataclass(frozen=True)
class SystemOptions:
    """What `crm up` may be told.

    Attributes:
        data_dir: The folder that everything is kept in.
        durable: False only for tests and benchmarks of speed without safety.
        amqp_url: A message bus; without it consumers pull.
    """

    data_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    public_url: str = ""
    admin_email: str = "admin@example.com"
    admin_password: str = ""
    durable: bool = True
    amqp_url: str = ""
    rate_limit: int = 6000
    reflection: bool = True
    cors_origins: tuple[str, ...] = ()
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
    addresses: Mapping[str, str]
    admin_password: str
    first_start: bool
    running: dict[str, RunningService] = field(default_factory=dict)

    @property
    def url(self) -> str:
        """The gateway, for REST, gRPC and gRPC-Web."""
        return self.options.url

    async def failed(self) -> str:
        """Waits until a part of the system ends by itself; answers which."""
        waits = {
            asyncio.create_task(running.stopping.wait()): name
            for name, running in self.running.items()
        }
        done, pending = await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        for task in pending:
            task.cancel()
        return waits[done.pop()]


def _say_nothing(_step: str) -> None:
    return None


@asynccontextmanager
async def running_system(
    options: SystemOptions, say: Callable[[str], None] = _say_nothing
) -> AsyncIterator[System]:
    """Starts everything in order and stops it in reverse; `say` is told each step.

    Raises:
        StartFailedError: A port is taken, or a part did not become ready.
    """
    _require_free(options.host, options.port)
    data_dir = options.data_dir.resolve()
    data_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as stack:
        say("PostgreSQL")
        postgres = EmbeddedPostgres(data_dir, durable=options.durable)
        await asyncio.to_thread(postgres.start)
        stack.callback(postgres.stop)
        first_start = not (data_dir / "admin.json").exists()
        system = System(
            options=options,
            postgres=postgres,
            addresses={name: f"127.0.0.1:{port}" for name, port in _ports(options.services)},
            admin_password=_admin_password(options, data_dir),
            first_start=first_start,
        )
        say("databases")
        await asyncio.to_thread(_prepare_databases, system)
        create_service_keys(data_dir / "keys", list(NAMES))
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


def _require_free(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            msg = (
                f"Port {port} on {host} is taken ({error.strerror}); choose another: CRM_PORT=8090"
            )
            raise StartFailedError(msg) from error


def _ports(services: Sequence[str]) -> list[tuple[str, int]]:
    taken: set[int] = set()
    for _ in services:
        port = free_port()
        while port in taken:
            port = free_port()
        taken.add(port)
    return list(zip(services, sorted(taken), strict=True))


def _admin_password(options: SystemOptions, data_dir: Path) -> str:
    """The first administrator's password: given, kept from an interrupted first start, or made up."""
    kept = data_dir / "admin.json"
    if kept.exists():
        return str(json.loads(kept.read_text())["password"])
    password = options.admin_password or secrets.token_urlsafe(12)
    kept.touch(mode=0o600)
    kept.write_text(json.dumps({"email": options.admin_email, "password": password}))
    return password


def _prepare_databases(system: System) -> None:
    for name in system.options.services:
        system.postgres.create_database(name)
        migrations.migrate(system.postgres.url(name), service(name).migrations)


async def _start_service(system: System, name: str, stack: AsyncExitStack) -> None:
    declared = service(name)
    options = system.options
    values: dict[str, object] = {
        "database_url": system.postgres.url("{service}").replace("%7Bservice%7D", "{service}"),
        "services": dict(system.addresses),
        "keys_dir": options.data_dir.resolve() / "keys",
        "public_url": options.url,
        "amqp_url": options.amqp_url or None,
    }
    if "admin_email" in declared.settings.model_fields:
        values |= {"admin_email": options.admin_email, "admin_password": system.admin_password}
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
        )
    )
    (folder / "envoy.json").write_text(json.dumps(bootstrap))
    envoy = _spawn_envoy(folder)
    stack.callback(_stop_envoy, envoy)


def _spawn_envoy(folder: Path) -> subprocess.Popen[bytes]:
    """Envoy in a session of its own, so that Ctrl-C reaches it through us, after the last answers."""
    log = (folder / "envoy.log").open("wb")
    pid_file = folder / "envoy.pid"
    _end_leftover(pid_file)
    command = envoy_command(folder / "envoy.json", concurrency=1)
    envoy = subprocess.Popen(  # noqa: S603 - our own Envoy
        command, stdout=log, stderr=log, stdin=subprocess.DEVNULL, start_new_session=True
    )
    pid_file.write_text(str(envoy.pid))
    return envoy


def _end_leftover(pid_file: Path) -> None:
    """Ends an Envoy that a killed `crm up` left running."""
    with suppress(FileNotFoundError, ValueError, ProcessLookupError, PermissionError):
        pid = int(pid_file.read_text())
        if "envoy" in str(Path(f"/proc/{pid}/exe").readlink()):
            os.kill(pid, signal.SIGKILL)


def _stop_envoy(envoy: subprocess.Popen[bytes]) -> None:
    envoy.terminate()
    try:
        envoy.wait(5)
    except subprocess.TimeoutExpired:
        envoy.kill()
        envoy.wait()


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
        log = system.options.data_dir / "gateway" / "envoy.log"
        msg = f"The gateway was not ready within {_READY_SECONDS:.0f} s; see {log}"
        raise StartFailedError(msg) from error


async def _answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url, timeout=2)).status_code == httpx.codes.OK
    except httpx.HTTPError:
        return False
