"""The system in several processes, so that one part of one service can be killed alone."""

import asyncio
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from crm_cli.envoy_process import EnvoyProcess
from crm_cli.services import NAMES, service
from crmkit import migrations
from crmkit.embedded_postgres import EmbeddedPostgres
from crmkit.ports import free_port
from crmkit.service_tokens import create_service_keys
from crmkit.testing import eventually
from gateway.descriptors import write_descriptors
from gateway.edge import serve_edge
from gateway.envoy import render
from gateway.settings import EdgeSettings, EnvoySettings

from .host import READY
from .processes import ADMIN, Child, command_line, descendants, kill

ROOT = Path(__file__).parents[2]
# Process → what runs in it. Those below it are what tests kill.
PROCESSES = {
    "rest": ["identity", "workspace:serve,relay,consume", "customer", "marketing", "support",
             "reporting:serve,jobs"],
    "serve": ["sales:serve"],
    "relay": ["sales:relay"],
    "consume": ["reporting:consume"],
    "rules": ["workspace:jobs"],
    "deals": ["sales:consume,jobs"],
}  # fmt: skip


class Cluster:
    """Processes, one PostgreSQL server and a gateway."""

    def __init__(self, folder: Path, amqp_url: str) -> None:
        self.folder = folder
        self.attachments = folder / "attachments"
        self.postgres = EmbeddedPostgres(folder / "data")
        self.addresses = {name: f"127.0.0.1:{free_port()}" for name in NAMES}
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.envoy = EnvoyProcess(folder / "gateway")
        self._amqp_url = amqp_url
        self._children: dict[str, Child] = {}
        self._starts = 0

    def prepare(self) -> None:
        """The databases and the keys."""
        self.postgres.start()
        for name in NAMES:
            self.postgres.create_database(name)
            migrations.migrate(self.postgres.url(name), service(name).migrations)
        create_service_keys(self.folder / "keys", list(NAMES))

    def launch(self, process: str, die_at: str = "") -> Child:
        """Starts one process of the table above; returns at once."""
        self._starts += 1
        command = [sys.executable, "-m", "tests.resilience.host", *PROCESSES[process]]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("CRM_")}
        environment |= {
            "PYTHONPATH": str(ROOT),
            "CRM_DATABASE_URL": self.postgres.url("SERVICE").replace("SERVICE", "{service}"),
            "CRM_SERVICES": ",".join(f"{k}={v}" for k, v in self.addresses.items()),
            "CRM_KEYS_DIR": str(self.folder / "keys"),
            "CRM_PUBLIC_URL": self.url,
            "CRM_AMQP_URL": self._amqp_url,
            "CRM_ADMIN_EMAIL": ADMIN["email"],
            "CRM_ADMIN_PASSWORD": ADMIN["password"],
            "CRM_ATTACHMENTS_URL": self.attachments.as_uri(),
        }
        log = self.folder / f"{self._starts}-{process}.log"
        child = Child([*command, "--die-at", die_at], environment, log)
        self._children[process] = child
        return child

    def child(self, process: str) -> Child:
        """One of its processes, as it is now."""
        return self._children[process]

    async def restart(self, process: str, die_at: str = "") -> Child:
        """Kills a process if it still runs, starts it again and waits until it is ready."""
        if self._children[process].running:
            self._children[process].kill()
        child = self.launch(process, die_at)
        await asyncio.to_thread(child.wait_for, READY)
        return child

    async def ready(self) -> None:
        """Waits until every process is."""
        for child in self._children.values():
            await asyncio.to_thread(child.wait_for, READY, 60)

    async def reachable(self) -> None:
        """Waits until the gateway has seen that every service serves."""
        async with httpx.AsyncClient(base_url=self.url, timeout=5, trust_env=False) as http:

            async def answers() -> bool:
                try:
                    ready = await http.get("/readyz")
                    refused = await http.get("/v1/opportunities")
                except httpx.TransportError:
                    return False
                return (ready.status_code, refused.status_code) == (200, 401)

            await eventually(answers, timeout=30)

    def kill_postgres(self) -> None:
        """SIGKILL to the server and all its backends, then a start that must recover."""
        mark = self.postgres._name
        kill([pid for pid in descendants(os.getpid()) if mark in command_line(pid)])
        self.postgres.start()

    def end(self) -> None:
        """Nothing of it runs afterwards."""
        for child in self._children.values():
            if child.running:
                child.kill()
        self.postgres.stop()


@asynccontextmanager
async def running_cluster(folder: Path, amqp_url: str) -> AsyncIterator[Cluster]:
    """Starts all processes, and the gateway here."""
    cluster = Cluster(folder, amqp_url)
    try:
        await asyncio.to_thread(cluster.prepare)
        for process in PROCESSES:
            cluster.launch(process)
        edge = EdgeSettings(cluster.addresses, http_port=free_port(), grpc_port=free_port())
        async with serve_edge(edge) as served:
            await cluster.ready()
            (folder / "gateway").mkdir()
            write_descriptors(folder / "gateway" / "api.binpb")
            cluster.envoy.start(
                render(
                    EnvoySettings(
                        services=cluster.addresses,
                        edge_http=f"127.0.0.1:{served.http_port}",
                        edge_grpc=f"127.0.0.1:{served.grpc_port}",
                        descriptors=folder / "gateway" / "api.binpb",
                        port=cluster.port,
                        public_url=cluster.url,
                        rate_limit=1_000_000,
                    )
                )
            )
            try:
                await cluster.reachable()
                yield cluster
            finally:
                await cluster.envoy.stop()
    finally:
        await asyncio.to_thread(cluster.end)
