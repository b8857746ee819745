"""The edge's own calls to the services."""

import asyncio
import time
from collections.abc import Mapping
from types import TracebackType
from typing import Self

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

HEALTH_SECONDS = 1.0
_OPTIONS = (
    ("grpc.enable_http_proxy", 0),
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.max_reconnect_backoff_ms", 2000),
)


class Upstreams:
    """One channel to each service; an async context manager that closes them."""

    def __init__(self, services: Mapping[str, str]) -> None:
        """Takes `host:port` by service; connects on first use, on the running event loop."""
        self._channels = {
            name: grpc.aio.insecure_channel(target, options=_OPTIONS)
            for name, target in services.items()
        }
        self._health: dict[str, tuple[float, bool]] = {}

    async def __aenter__(self) -> Self:
        """Nothing to do yet: channels connect when used."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Closes the channels."""
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    @property
    def services(self) -> list[str]:
        """The services that are called."""
        return list(self._channels)

    def channel(self, service: str) -> grpc.aio.Channel | None:
        """The channel to `service`, or None if it has no address."""
        return self._channels.get(service)

    async def is_serving(self, service: str) -> bool:
        """Whether `service` says that it serves; asked at most once a second."""
        known = self._health.get(service)
        if known and time.monotonic() < known[0]:
            return known[1]
        serving = await self._ask_health(service)
        self._health[service] = (time.monotonic() + HEALTH_SECONDS, serving)
        return serving

    async def all_serving(self) -> dict[str, bool]:
        """`is_serving` of every service."""
        answers = await asyncio.gather(*(self.is_serving(name) for name in self._channels))
        return dict(zip(self._channels, answers, strict=True))

    async def _ask_health(self, service: str) -> bool:
        channel = self._channels.get(service)
        if channel is None:
            return False
        stub = health_pb2_grpc.HealthStub(channel)
        try:
            answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
        except grpc.aio.AioRpcError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)
