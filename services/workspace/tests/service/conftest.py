"""A running workspace service, feeds that it reads, and an endpoint that it calls."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import pytest_asyncio

from crmkit.testing.feed_host import FeedHost, feed_host
from crmkit.testing.harness import ServiceUnderTest, service_under_test
from crmkit.testing.postgres import TestServer
from workspace.service import SERVICE
from workspace.settings import WorkspaceSettings


@pytest_asyncio.fixture(scope="module")
async def feeds(postgres: TestServer) -> AsyncIterator[FeedHost]:
    """The feeds of the other services."""
    async with feed_host(postgres, SERVICE.migrations) as host:
        await host.start()
        yield host


@pytest_asyncio.fixture(scope="module")
async def workspace(postgres: TestServer, feeds: FeedHost) -> AsyncIterator[ServiceUnderTest]:
    """The service with a database of its own; it may call this machine."""
    others = ("identity", "customer", "sales", "marketing", "support")
    async with service_under_test(
        SERVICE,
        postgres,
        roles=("serve", "relay", "consume", "jobs"),
        addresses=dict.fromkeys(others, feeds.address),
        settings_type=WorkspaceSettings,
        webhook_allow_networks="127.0.0.0/8",
    ) as running:
        yield running


@dataclass
class Endpoint:
    """A receiver of webhooks: what it heard, and what it answers next (the last for ever)."""

    url: str = ""
    answers: list[tuple[int, str]] = field(default_factory=lambda: [(200, "thanks")])
    heard: list[tuple[dict[str, str], bytes]] = field(default_factory=list)

    async def talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        pairs = (line.partition(":") for line in lines[1:] if line)
        headers = {name.lower(): value.strip() for name, _, value in pairs}
        body = await reader.readexactly(int(headers["content-length"]))
        self.heard.append((headers, body))
        status, text = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        answer = text.encode()
        writer.write(
            f"HTTP/1.1 {status} X\r\ncontent-length: {len(answer)}\r\n\r\n".encode() + answer
        )
        await writer.drain()
        writer.close()


@pytest_asyncio.fixture
async def endpoint() -> AsyncIterator[Any]:
    """An endpoint that takes everything unless the test says otherwise."""
    made = Endpoint()
    server = await asyncio.start_server(made.talk, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/hook?key=1"
    async with server:
        yield made
