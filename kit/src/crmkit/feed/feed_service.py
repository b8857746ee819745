"""The feed for other services: unfiltered, dense, chained."""

from collections.abc import AsyncIterator

from crm.common.v1 import feed_pb2
from crmkit.call import Call
from crmkit.feed.feed import Feed, FeedHead

_DEFAULT_PAGE = 500
_MAX_PAGE = 1000


class FeedService:
    """`crm.common.v1.FeedService`; whoever calls may have everything."""

    def __init__(self, feed: Feed) -> None:
        """Serves this feed."""
        self._feed = feed

    async def GetHead(self, _request: feed_pb2.GetHeadRequest, _call: Call) -> feed_pb2.Head:
        """Where the feed stands."""
        return _head(await self._feed.head())

    async def ListEvents(
        self, request: feed_pb2.ListFeedEventsRequest, _call: Call
    ) -> feed_pb2.ListFeedEventsResponse:
        """Events after a number; the page ends early at 3 MiB."""
        count = min(max(request.page_size, 0) or _DEFAULT_PAGE, _MAX_PAGE)
        # The events first: the head must not be older than they are.
        events = await self._feed.read(request.after_seq, count)
        head = await self._feed.head()
        return feed_pb2.ListFeedEventsResponse(events=events, head=_head(head))

    async def StreamEvents(
        self, request: feed_pb2.StreamFeedEventsRequest, _call: Call
    ) -> AsyncIterator[feed_pb2.StreamFeedEventsResponse]:
        """Events after a number, then every new one, until the caller goes away."""
        position = request.after_seq
        while True:
            events = await self._feed.read(position, _DEFAULT_PAGE)
            if events:
                position = events[-1].feed_seq
                yield feed_pb2.StreamFeedEventsResponse(events=events)
            else:
                await self._feed.wait_beyond(position)


def _head(head: FeedHead) -> feed_pb2.Head:
    return feed_pb2.Head(feed_id=str(head.feed_id), last_seq=head.last_seq, chain=head.chain)
