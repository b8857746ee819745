"""grpc.health.v1 for the whole system: the gateway's port answers for every service behind it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
from google.rpc import code_pb2
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2 import HealthCheckResponse

from gateway.messages import one_message, refuse
from gateway.routes import RouteTable
from gateway.upstreams import Upstreams

WATCH_SECONDS = 2.0


class SystemHealth:
    """Health of everything (the empty name), of a service (`customer`) and of a gRPC service."""

    def __init__(self, routes: RouteTable, upstreams: Upstreams) -> None:
        """Takes the names from `routes` and asks the services through `upstreams`."""
        self._upstreams = upstreams
        self._owner = {rule.grpc_service: rule.service for rule in routes.rules}
        self._owner |= {name: name for name in upstreams.services}

    def add_to(self, server: grpc.aio.Server) -> None:
        """Offers `Check` and `Watch` on `server`."""
        serializer = HealthCheckResponse.SerializeToString
        methods: dict[str, Any] = {
            "Check": grpc.stream_unary_rpc_method_handler(self.check, None, serializer),
            "Watch": grpc.stream_stream_rpc_method_handler(self.watch, None, serializer),
        }
        name = health_pb2.DESCRIPTOR.services_by_name["Health"].full_name
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))

    async def check(self, pieces: AsyncIterator[bytes], context: Any) -> HealthCheckResponse:
        """Whether the named service serves now; NOT_FOUND for an unknown name."""
        request = await one_message(pieces, health_pb2.HealthCheckRequest, context)
        status = await self._status(request.service)
        if status == HealthCheckResponse.SERVICE_UNKNOWN:
            message = "There is no such service."
            await refuse(context, message, code_pb2.NOT_FOUND, "SERVICE_UNKNOWN")
        return HealthCheckResponse(status=status)

    async def watch(
        self, pieces: AsyncIterator[bytes], context: Any
    ) -> AsyncIterator[HealthCheckResponse]:
        """The status now and whenever it changes."""
        request = await one_message(pieces, health_pb2.HealthCheckRequest, context)
        last: int | None = None
        while True:
            status = await self._status(request.service)
            if status != last:
                yield HealthCheckResponse(status=status)
            last = status
            await asyncio.sleep(WATCH_SECONDS)

    async def _status(self, name: str) -> HealthCheckResponse.ServingStatus.ValueType:
        if not name:
            serving = all((await self._upstreams.all_serving()).values())
        elif name in self._owner:
            serving = await self._upstreams.is_serving(self._owner[name])
        else:
            return HealthCheckResponse.SERVICE_UNKNOWN
        return HealthCheckResponse.SERVING if serving else HealthCheckResponse.NOT_SERVING
