"""The gateway under test: a real Envoy, the real edge, and a small real backend behind them.

The backend is identity and customer on one port; it answers what it was given and remembers what
reached it.
"""

import asyncio
import json
import socket
import time
import uuid
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest
from google.protobuf import any_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from joserfc import jwt
from joserfc.jwk import ECKey

from crm.common.v1 import event_pb2, import_pb2
from crm.customer.v1 import (
    account_pb2,
    account_pb2_grpc,
    event_pb2_grpc,
    import_pb2_grpc,
)
from crm.identity.v1 import api_key_pb2, api_key_pb2_grpc, session_pb2, session_pb2_grpc
from gateway.descriptors import write_descriptors
from gateway.edge import serve_edge
from gateway.envoy import envoy_command, render
from gateway.settings import EdgeSettings, EnvoySettings

VALID_KEY = "crm_test_valid"
NAME = "accounts/0190a000-0000-7000-8000-000000000001"


@dataclass
class Seen:
    """What reached the backend: the metadata of every call, newest last."""

    calls: list[dict[str, str]] = field(default_factory=list)
    deadlines: list[float | None] = field(default_factory=list)
    exchanges: int = 0
    upload_pieces: int = 0

    def note(self, context: Any) -> dict[str, str]:
        """Remembers a call."""
        self.calls.append({k: v for k, v in context.invocation_metadata() if isinstance(v, str)})
        self.deadlines.append(context.time_remaining())
        return self.calls[-1]


class Keys:
    """The signing key of the test's identity."""

    def __init__(self, issuer: str) -> None:
        self.issuer = issuer
        self.key = ECKey.generate_key("P-256", {"kid": "one", "alg": "ES256", "use": "sig"})

    def token(self, subject: str = "users/anna", seconds: int = 600) -> str:
        """An access token that ends `seconds` from now."""
        claims = {
            "iss": self.issuer,
            "aud": "crm",
            "sub": subject,
            "exp": int(time.time()) + seconds,
        }
        return jwt.encode({"alg": "ES256", "kid": "one"}, claims, self.key)


class Accounts(account_pb2_grpc.AccountServiceServicer):
    """Answers with what it was given; refuses some names to show errors."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def CreateAccount(self, request: Any, context: Any) -> account_pb2.Account:
        self.seen.note(context)
        account = account_pb2.Account()
        account.CopyFrom(request.account)
        account.name, account.etag = NAME, "v1"
        await context.send_initial_metadata((("etag", '"v1"'),))
        return account

    async def UpdateAccount(self, request: Any, context: Any) -> account_pb2.Account:
        self.seen.note(context)
        return request.account

    async def UndeleteAccount(self, request: Any, context: Any) -> account_pb2.Account:
        self.seen.note(context)
        return account_pb2.Account(name=request.name)

    async def ListAccounts(self, request: Any, context: Any) -> account_pb2.ListAccountsResponse:
        self.seen.note(context)
        return account_pb2.ListAccountsResponse(next_page_token=request.filter)

    async def BatchGetAccounts(
        self, request: Any, context: Any
    ) -> account_pb2.BatchGetAccountsResponse:
        self.seen.note(context)
        accounts = [account_pb2.Account(name=name) for name in request.names]
        return account_pb2.BatchGetAccountsResponse(accounts=accounts)

    async def GetAccount(self, request: Any, context: Any) -> account_pb2.Account:
        self.seen.note(context)
        if request.name == "accounts/slow":
            await asyncio.sleep(30)
        if request.name == "accounts/missing":
            info = error_details_pb2.ErrorInfo(reason="RECORD_NOT_FOUND", domain="customer.crm")
            details = any_pb2.Any()
            details.Pack(info)
            status = status_pb2.Status(
                code=code_pb2.NOT_FOUND, message="no such account", details=[details]
            )
            await context.abort(
                grpc.StatusCode.NOT_FOUND,
                "no such account",
                (("grpc-status-details-bin", status.SerializeToString()),),
            )
        return account_pb2.Account(name=request.name, display_name="Acme")


class Uploads(import_pb2_grpc.ImportServiceServicer):
    """Counts the bytes of an upload."""

    def __init__(self, seen: Seen) -> None:
        self.seen = seen

    async def CreateUpload(self, request_iterator: Any, context: Any) -> import_pb2.Upload:
        self.seen.note(context)
        size = pieces = 0
        async for piece in request_iterator:
            size += len(piece.file.data)
            pieces += 1
        self.seen.upload_pieces = pieces
        return import_pb2.Upload(name="uploads/1", size_bytes=size)


class Events(event_pb2_grpc.EventServiceServicer):
    """Sends three events."""

    async def StreamEvents(
        self, request: Any, context: Any
    ) -> AsyncIterator[event_pb2.DomainEvent]:
        for number in range(3):
            yield event_pb2.DomainEvent(cursor=str(number), kind="customer.account.created")


class Sessions(session_pb2_grpc.SessionServiceServicer):
    """Publishes the test's key; signs nobody in."""

    def __init__(self, keys: Keys) -> None:
        self.keys = keys

    async def GetKeySet(self, request: Any, context: Any) -> session_pb2.KeySet:
        public = self.keys.key.as_dict(private=False)
        names = ("kty", "crv", "x", "y", "kid", "alg", "use")
        return session_pb2.KeySet(
            keys=[session_pb2.KeySet.Key(**{name: public[name] for name in names})]
        )

    async def CreateSession(self, request: Any, context: Any) -> session_pb2.Session:
        return session_pb2.Session(user="users/anna")


class ApiKeys(api_key_pb2_grpc.ApiKeyServiceServicer):
    """Knows one key."""

    def __init__(self, keys: Keys, seen: Seen) -> None:
        self.keys, self.seen = keys, seen

    async def ExchangeApiKey(
        self, request: Any, context: Any
    ) -> api_key_pb2.ExchangeApiKeyResponse:
        self.seen.exchanges += 1
        if request.key != VALID_KEY:
            await context.abort(grpc.StatusCode.UNAUTHENTICATED, "unknown key")
        answer = api_key_pb2.ExchangeApiKeyResponse(access_token=self.keys.token("users/robot"))
        answer.expire_time.FromSeconds(int(time.time()) + 600)
        return answer


class Healthy(health_pb2_grpc.HealthServicer):
    """Always serving."""

    async def Check(self, request: Any, context: Any) -> health_pb2.HealthCheckResponse:
        return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def start_backend(port: int, keys: Keys, seen: Seen) -> grpc.aio.Server:
    """Starts identity's and customer's services on `port`."""
    limits = (
        ("grpc.max_metadata_size", 128 * 1024),
        ("grpc.absolute_max_metadata_size", 192 * 1024),
    )
    server = grpc.aio.server(options=limits)
    account_pb2_grpc.add_AccountServiceServicer_to_server(Accounts(seen), server)
    import_pb2_grpc.add_ImportServiceServicer_to_server(Uploads(seen), server)
    event_pb2_grpc.add_EventServiceServicer_to_server(Events(), server)
    session_pb2_grpc.add_SessionServiceServicer_to_server(Sessions(keys), server)
    api_key_pb2_grpc.add_ApiKeyServiceServicer_to_server(ApiKeys(keys, seen), server)
    health_pb2_grpc.add_HealthServicer_to_server(Healthy(), server)
    server.add_insecure_port(f"127.0.0.1:{port}")
    await server.start()
    return server


@dataclass
class Gate:
    """A running gateway.

    Attributes:
        url: where it listens.
        port: the same, for gRPC.
        keys: signs access tokens.
        seen: what reached the backend.
        log: Envoy's output, with its access log.
    """

    url: str
    port: int
    keys: Keys
    seen: Seen
    log: Path
    api_key: str = VALID_KEY
    name: str = NAME

    def headers(self, subject: str = "users/anna", **more: str) -> dict[str, str]:
        """Headers of a signed-in caller."""
        return {"authorization": f"Bearer {self.keys.token(subject)}", **more}

    @property
    def last(self) -> dict[str, str]:
        """Metadata of the last call that reached the backend."""
        return self.seen.calls[-1]


@pytest.fixture
def ports() -> list[int]:
    """Three free ports."""
    return free_ports(3)


@pytest.fixture(scope="session")
async def gate(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Gate]:
    """The whole gateway, ready for calls."""
    folder = tmp_path_factory.mktemp("gateway")
    port, backend_port, edge_http, edge_grpc, nobody = free_ports(5)
    url = f"http://127.0.0.1:{port}"
    seen, keys = Seen(), Keys(url)
    backend = await start_backend(backend_port, keys, seen)
    services = dict.fromkeys(("identity", "customer"), f"127.0.0.1:{backend_port}")
    edge = EdgeSettings(services, edge_http, edge_grpc, public_url=url)
    envoy = EnvoySettings(
        services | {"sales": f"127.0.0.1:{nobody}"},
        edge_http=f"127.0.0.1:{edge_http}",
        edge_grpc=f"127.0.0.1:{edge_grpc}",
        descriptors=folder / "api.binpb",
        port=port,
        public_url=url,
        cors_origins=("https://console.example",),
        hosts=("crm.partner.example",),
        rate_limit=300,
        access_log=True,
    )
    async with serve_edge(edge):
        process = await start_envoy(folder, envoy)
        try:
            await until_ready(url, keys)
            yield Gate(url, port, keys, seen, folder / "envoy.log")
        finally:
            process.terminate()
            await process.wait()
    await backend.stop(0)


@pytest.fixture
async def rest(gate: Gate) -> AsyncIterator[httpx.AsyncClient]:
    """A REST client with a subject of its own, and so with its own rate limit."""
    headers = gate.headers(f"users/{uuid.uuid4()}")
    async with httpx.AsyncClient(base_url=gate.url, headers=headers, timeout=20) as client:
        yield client


@pytest.fixture
async def channel(gate: Gate) -> AsyncIterator[grpc.aio.Channel]:
    """A gRPC channel to the gateway."""
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(f"127.0.0.1:{gate.port}", options) as channel:
        yield channel


async def start_envoy(folder: Path, settings: EnvoySettings) -> asyncio.subprocess.Process:
    """Runs Envoy; its output goes to `folder`."""
    write_descriptors(settings.descriptors)
    config = folder / "envoy.json"
    config.write_text(json.dumps(render(settings)))
    with (folder / "envoy.log").open("wb") as log:
        return await asyncio.create_subprocess_exec(
            *envoy_command(config, concurrency=1), stdout=log, stderr=log
        )


async def until_ready(url: str, keys: Keys) -> None:
    """Waits until a signed-in call passes through."""
    headers = {"authorization": f"Bearer {keys.token('users/probe')}"}
    deadline = time.monotonic() + 20
    async with httpx.AsyncClient() as client:
        while True:
            try:
                answer = await client.get(f"{url}/v1/accounts/probe", headers=headers)
                if answer.status_code == httpx.codes.OK:
                    return
                problem = answer.text
            except httpx.TransportError as error:
                problem = repr(error)
            if time.monotonic() > deadline:
                pytest.fail(f"the gateway did not come up: {problem}")
            await asyncio.sleep(0.05)


def free_ports(count: int) -> list[int]:
    """Free ports between 20000 and 30000."""
    ports: list[int] = []
    sockets: list[socket.socket] = []
    for port in range(20000 + hash(time.monotonic_ns()) % 9000, 30000):
        candidate = socket.socket()
        try:
            candidate.bind(("127.0.0.1", port))
        except OSError:
            candidate.close()
            continue
        sockets.append(candidate)
        ports.append(port)
        if len(ports) == count:
            break
    for candidate in sockets:
        candidate.close()
    return ports
