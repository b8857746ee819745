"""Calls to other services: one channel each, as this service or with the caller's own token."""

from collections.abc import Mapping, Sequence
from typing import Any

import grpc

from crmkit.errors import Failure, Unavailable
from crmkit.service_tokens import ServiceKeys

_OPTIONS = [
    ("grpc.lb_policy_name", "round_robin"),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.max_receive_message_length", 4 * 1024 * 1024),
]


# Honoured only where a service calls: for whom, with which limits of that person's credential, and because of
# which event.
ON_BEHALF_OF, LIMITED_TO, CAUSED_BY = "x-on-behalf-of", "x-limited-to", "x-causation-id"


class Clients:
    """Channels to the other services, opened when first needed."""

    def __init__(self, addresses: Mapping[str, str], keys: ServiceKeys) -> None:
        """Takes the address of each service, `host:port`."""
        self._addresses = addresses
        self._keys = keys
        self._channels: dict[str, grpc.aio.Channel] = {}

    def channel(self, service: str) -> grpc.aio.Channel:
        """The channel to a service; raises Unavailable if the deployment has none."""
        channel = self._channels.get(service)
        if channel is None:
            address = self._addresses.get(service)
            if address is None:
                msg = f"The service {service} is not part of this deployment."
                raise Unavailable(msg)
            channel = grpc.aio.insecure_channel(f"dns:///{address}", options=_OPTIONS)
            self._channels[service] = channel
        return channel

    def as_service(
        self, on_behalf_of: str = "", limits: Sequence[str] | None = None
    ) -> tuple[tuple[str, str], ...]:
        """Metadata of a call as this service, perhaps for a user (`users/{uuid}`) within limits."""
        metadata = [("authorization", f"Bearer {self._keys.token()}")]
        if on_behalf_of:
            metadata.append((ON_BEHALF_OF, on_behalf_of))
            metadata += [(LIMITED_TO, " ".join(limits))] if limits is not None else []
        return tuple(metadata)

    async def call(
        self,
        service: str,
        path: str,
        request: Any,
        answer: type[Any],
        *,
        metadata: tuple[tuple[str, str], ...],
        timeout: float = 5.0,  # noqa: ASYNC109 - a gRPC deadline
    ) -> Any:
        """A unary call; raises grpc.aio.AioRpcError."""
        stub = self.channel(service).unary_unary(
            path,
            request_serializer=type(request).SerializeToString,
            response_deserializer=answer.FromString,
        )
        return await stub(request, metadata=metadata, timeout=timeout)

    async def close(self) -> None:
        """Closes every channel."""
        for channel in self._channels.values():
            await channel.close()


def unavailable(service: str) -> Failure:
    """The failure of a call to a service that cannot be reached."""
    msg = f"The service {service} cannot be reached."
    return Unavailable(msg, reason="SERVICE_UNAVAILABLE", retry_after=1)
