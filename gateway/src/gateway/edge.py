"""The edge app: what the front door needs beside Envoy.

HTTP: Envoy's check, the key set, OpenAPI and its page, liveness and readiness. gRPC: reflection and
the health of the whole system. Stateless: run as many as you like.
"""

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import grpc
import uvicorn
from google.rpc import code_pb2
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from gateway.api_keys import ApiKeys
from gateway.check import Check
from gateway.envoy_routes import CHECK_PREFIX
from gateway.health import SystemHealth
from gateway.key_set import KeySet
from gateway.openapi import openapi_document
from gateway.reflection import add_reflection
from gateway.routes import route_table
from gateway.settings import EdgeSettings
from gateway.single_sign_on import SingleSignOn
from gateway.statuses import status_json
from gateway.upstreams import Upstreams

STATIC = Path(__file__).parent / "static"
STOP_SECONDS = 2.0
MAX_CALLS = 1000
# All that Envoy lets through; between the soft limit and the hard one gRPC refuses at random.
_GRPC_OPTIONS = (
    ("grpc.so_reuseport", 0),
    ("grpc.max_metadata_size", 128 * 1024),
    ("grpc.absolute_max_metadata_size", 192 * 1024),
)
_MAX_HEAD_BYTES = 192 * 1024
_VERBS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
# Pages of ours load nothing from elsewhere and run no inline script.
_PAGE_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


@dataclass(frozen=True)
class Edge:
    """A running edge: the ports it really listens on."""

    http_port: int
    grpc_port: int


@contextlib.asynccontextmanager
async def serve_edge(settings: EdgeSettings) -> AsyncIterator[Edge]:
    """Runs the edge on the current event loop until the context is left.

    Raises:
        OSError: a port is taken.
    """
    async with Upstreams(settings.services) as upstreams:
        grpc_server, grpc_port = await _start_grpc(settings, upstreams)
        try:
            listener = _listen(settings.host, settings.http_port)
            async with _serve_http(edge_app(settings, upstreams), listener):
                yield Edge(http_port=listener.getsockname()[1], grpc_port=grpc_port)
        finally:
            await grpc_server.stop(STOP_SECONDS)


def edge_app(settings: EdgeSettings, upstreams: Upstreams) -> Starlette:
    """The HTTP app."""
    check = Check(route_table(), ApiKeys(upstreams))
    pages = _Pages(settings, upstreams)
    sso = SingleSignOn(upstreams, settings.public_url)
    return Starlette(
        routes=[
            Route(CHECK_PREFIX + "/{path:path}", check.answer, methods=_VERBS),
            Route("/.well-known/jwks.json", pages.key_set),
            Route("/openapi.json", pages.openapi),
            Route("/sso/callback", sso.callback, methods=["GET"]),
            Route("/sso/{provider}/start", sso.start, methods=["GET"]),
            Route("/healthz", pages.live),
            Route("/readyz", pages.ready),
            Route("/", _page("index.html")),
            Route("/docs", _page("docs.html")),
            Mount("/static", StaticFiles(directory=STATIC)),
        ],
        exception_handlers={HTTPException: _http_error},
    )


class _Pages:
    """The endpoints that answer from the settings and the services."""

    def __init__(self, settings: EdgeSettings, upstreams: Upstreams) -> None:
        self._upstreams = upstreams
        self._keys = KeySet(upstreams)
        document = openapi_document(settings.public_url)
        self._openapi = json.dumps(document, ensure_ascii=False).encode()

    async def key_set(self, request: Request) -> Response:  # noqa: ARG002
        keys = await self._keys.read()
        if keys is None:
            message = "Identity is not reachable yet."
            return status_json(code_pb2.UNAVAILABLE, "SERVICE_UNAVAILABLE", message)
        return JSONResponse(keys, headers={"cache-control": "public, max-age=30"})

    async def openapi(self, request: Request) -> Response:  # noqa: ARG002
        headers = {"cache-control": "no-cache"}
        return Response(self._openapi, media_type="application/json", headers=headers)

    async def live(self, request: Request) -> Response:  # noqa: ARG002
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:  # noqa: ARG002
        services = await self._upstreams.all_serving()
        keys = await self._keys.read() is not None
        ready = keys and all(services.values())
        body = {
            "status": "ready" if ready else "not ready",
            "services": {name: "serving" if up else "not serving" for name, up in services.items()},
            "key_set": "available" if keys else "not available",
        }
        return JSONResponse(body, 200 if ready else 503)


def _page(name: str) -> Callable[[Request], Response]:
    def page(request: Request) -> Response:  # noqa: ARG001
        return FileResponse(STATIC / name, headers=_PAGE_HEADERS)

    return page


async def _http_error(request: Request, error: Exception) -> Response:  # noqa: ARG001
    not_found = isinstance(error, HTTPException) and error.status_code == 404  # noqa: PLR2004
    if not_found:
        return status_json(code_pb2.NOT_FOUND, "ROUTE_NOT_FOUND", "There is nothing here.")
    return status_json(code_pb2.INVALID_ARGUMENT, "INVALID_REQUEST", str(error))


async def _start_grpc(settings: EdgeSettings, upstreams: Upstreams) -> tuple[grpc.aio.Server, int]:
    server = grpc.aio.server(maximum_concurrent_rpcs=MAX_CALLS, options=_GRPC_OPTIONS)
    SystemHealth(route_table(), upstreams).add_to(server)
    if settings.reflection:
        add_reflection(server, route_table())
    try:
        port = server.add_insecure_port(f"{settings.host}:{settings.grpc_port}")
    except RuntimeError as error:
        message = f"port {settings.grpc_port} on {settings.host} cannot be used"
        raise OSError(message) from error
    await server.start()
    return server, port


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio turns Nagle's delay off on accepted connections.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener


class _HttpServer(uvicorn.Server):
    """Uvicorn as a guest: signals belong to whoever runs the loop, readiness can be awaited."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


@contextlib.asynccontextmanager
async def _serve_http(app: Starlette, listener: socket.socket) -> AsyncIterator[None]:
    config = uvicorn.Config(
        app,
        lifespan="off",
        access_log=False,
        log_config=None,
        server_header=False,
        h11_max_incomplete_event_size=_MAX_HEAD_BYTES,
        timeout_graceful_shutdown=int(STOP_SECONDS),
    )
    server = _HttpServer(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    ready = asyncio.create_task(server.ready.wait())
    try:
        await asyncio.wait({serving, ready}, return_when=asyncio.FIRST_COMPLETED)
        yield
    finally:
        ready.cancel()
        server.should_exit = True
        await serving
