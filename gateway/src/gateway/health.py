"""grpc.health.v1 for the whole system: the gateway's port answers for every service behind it."""

import asyncio
from collections.abc import AsyncIterator

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from gateway.routes import RouteTable
from gateway.upstreams import Upstreams

WATCH_SECONDS = 2.0
_Response = health_pb2.HealthCheckResponse


class SystemHealth(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # untyped library
    """Health of everything (the empty name), of a service (`customer`) and of a gRPC service."""

    def __init__(self, routes: RouteTable, upstreams: Upstreams) -> None:
        """Takes the names from `routes` and asks the services through `upstreams`."""
        self._upstreams = upstreams
        self._owner = {rule.grpc_service: rule.service for rule in routes.rules}
        self._owner |= {name: name for name in upstreams.services}

    async def Check(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ],
    ) -> health_pb2.HealthCheckResponse:
        """Whether the named service serves now; NOT_FOUND for an unknown name."""
        status = await self._status(request.service)
        if status == _Response.SERVICE_UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, "unknown service")
        return _Response(status=status)

    async def Watch(  # noqa: N802
        self,
        request: health_pb2.HealthCheckRequest,
        context: grpc.aio.ServicerContext[  # noqa: ARG002
            health_pb2.HealthCheckRequest, health_pb2.HealthCheckResponse
        ],
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """The status now and whenever it changes."""
        last: int | None = None
        while True:
            status = await self._status(request.service)
            if status != last:
                yield _Response(status=status)
            last = status
            await asyncio.sleep(WATCH_SECONDS)

    async def _status(self, name: str) -> health_pb2.HealthCheckResponse.ServingStatus.ValueType:
        if not name:
            serving = all((await self._upstreams.all_serving()).values())
        elif name in self._owner:
            serving = await self._upstreams.is_serving(self._owner[name])
        else:
            return _Response.SERVICE_UNKNOWN
        return _Response.SERVING if serving else _Response.NOT_SERVING
