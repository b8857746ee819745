"""The whole system in the test's own process: once with the pull bus, once with a real RabbitMQ."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from uuid import uuid4

import httpx
import pytest
import pytest_asyncio

from crm_cli.system import System, SystemOptions, running_system
from crmkit.ports import free_port

ADMIN = {"email": "admin@crm.test", "password": "correct horse battery"}


@dataclass
class Client:
    """A signed-in REST client; every answer must be a success unless the test reads it itself."""

    http: httpx.AsyncClient

    async def post(self, path: str, body: Any = None, **params: Any) -> Any:
        """POST with a JSON body; answers the JSON."""
        return self._ok(await self.http.post(path, json=body or {}, params=params))

    async def get(self, path: str, **params: Any) -> Any:
        """GET; answers the JSON."""
        return self._ok(await self.http.get(path, params=params))

    async def patch(self, path: str, body: Any) -> Any:
        """PATCH with a JSON body; answers the JSON."""
        return self._ok(await self.http.patch(path, json=body))

    @staticmethod
    def _ok(response: httpx.Response) -> Any:
        assert response.status_code == httpx.codes.OK, response.text
        return response.json()


@dataclass
class RunningSystem:
    """The system and its administrator."""

    system: System
    admin: Client

    async def sign_in(self, email: str, password: str) -> Client:
        """A client for a user."""
        return Client(await self._authorized(email, password))

    async def person(self, role: str) -> tuple[str, Client]:
        """A new user with a built-in role: their name, and a client for them."""
        email, password = f"{uuid4()}@crm.test", "correct horse battery staple"
        roles = (await self.admin.get("/v1/roles"))["roles"]
        names = [r["name"] for r in roles if r["display_name"] == role]
        body = {"email": email, "display_name": "Ben", "password": password, "roles": names}
        user = await self.admin.post("/v1/users", body)
        return user["name"], await self.sign_in(email, password)

    async def _authorized(self, email: str, password: str) -> httpx.AsyncClient:
        http = httpx.AsyncClient(base_url=self.system.url, timeout=10, trust_env=False)
        answer = await http.post("/v1/sessions", json={"email": email, "password": password})
        assert answer.status_code == httpx.codes.OK, answer.text
        http.headers["authorization"] = f"Bearer {answer.json()['access_token']}"
        return http


@contextlib.asynccontextmanager
async def started(folder: Path, **options: Any) -> AsyncIterator[RunningSystem]:
    """Starts a system in a folder and signs its administrator in."""
    chosen = SystemOptions(
        data_dir=folder,
        port=options.pop("port", None) or free_port(),
        admin_email=ADMIN["email"],
        admin_password=ADMIN["password"],
        durable=False,
        rate_limit=1_000_000,
        webhook_allow_networks="127.0.0.0/8",
        **options,
    )
    async with running_system(chosen) as system:
        running = RunningSystem(system, None)  # type: ignore[arg-type] - signed in next
        running.admin = await running.sign_in(**ADMIN)
        try:
            yield running
        finally:
            await running.admin.http.aclose()


@pytest_asyncio.fixture(scope="session", params=["pull", "rabbitmq"])
async def crm(request: pytest.FixtureRequest) -> AsyncIterator[RunningSystem]:
    """The system on each bus; tests make their own records and never clean up."""
    amqp_url = request.getfixturevalue("rabbitmq").url if request.param == "rabbitmq" else ""
    with TemporaryDirectory(prefix="crm-system-") as folder:
        async with started(Path(folder), amqp_url=amqp_url) as running:
            yield running
