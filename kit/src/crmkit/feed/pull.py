"""Reading another service's feed."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Any, Protocol

import grpc

from crm.common.v1 import feed_pb2
from crm.common.v1.feed_pb2 import FeedEvent

_CALL_SECONDS = 10.0
_SERVICE = "/crm.common.v1.FeedService"

Metadata = tuple[tuple[str, str], ...]


class Puller(Protocol):
    """Reads another service's feed."""

    async def head(self) -> feed_pb2.Head:
        """Where the feed stands."""

    async def page(self, after_seq: int) -> feed_pb2.ListFeedEventsResponse:
        """The next events, and where the feed stands; no events at the end."""

    def stream(self, after_seq: int) -> AsyncGenerator[Sequence[FeedEvent], None]:
        """The events after a number, so many at once as there are; ends only with an error."""


class GrpcPuller:
    """Reads a feed over gRPC; every call raises grpc.aio.AioRpcError."""

    def __init__(self, channel: grpc.aio.Channel, credentials: Callable[[], Metadata]) -> None:
        """Takes a channel to the source, and what gives each call its metadata."""
        self._credentials = credentials
        self._get_head: Any = channel.unary_unary(
            f"{_SERVICE}/GetHead",
            request_serializer=feed_pb2.GetHeadRequest.SerializeToString,
            response_deserializer=feed_pb2.Head.FromString,
        )
        self._list_events: Any = channel.unary_unary(
            f"{_SERVICE}/ListEvents",
            request_serializer=feed_pb2.ListFeedEventsRequest.SerializeToString,
            response_deserializer=feed_pb2.ListFeedEventsResponse.FromString,
        )
        self._stream_events: Any = channel.unary_stream(
            f"{_SERVICE}/StreamEvents",
            request_serializer=feed_pb2.StreamFeedEventsRequest.SerializeToString,
            response_deserializer=feed_pb2.StreamFeedEventsResponse.FromString,
        )

    async def head(self) -> feed_pb2.Head:
        """Where the feed stands."""
        head: feed_pb2.Head = await self._get_head(
            feed_pb2.GetHeadRequest(), metadata=self._credentials(), timeout=_CALL_SECONDS
        )
        return head

    async def page(self, after_seq: int) -> feed_pb2.ListFeedEventsResponse:
        """The next events, up to 1,000."""
        page: feed_pb2.ListFeedEventsResponse = await self._list_events(
            feed_pb2.ListFeedEventsRequest(after_seq=after_seq, page_size=1000),
            metadata=self._credentials(),
            timeout=_CALL_SECONDS,
        )
        return page

    async def stream(self, after_seq: int) -> AsyncGenerator[Sequence[FeedEvent], None]:
        """The events after a number, so many at once as there are."""
        call = self._stream_events(
            feed_pb2.StreamFeedEventsRequest(after_seq=after_seq), metadata=self._credentials()
        )
        try:
            async for piece in call:
                yield piece.events
        finally:
            call.cancel()  # an abandoned stream is never collected (grpc #43462)
