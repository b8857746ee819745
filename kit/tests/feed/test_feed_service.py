"""Invariant: the feed is served whole, in order, in bounded pages; a stream misses nothing."""

import asyncio
from contextlib import aclosing

from crm.common.v1 import feed_pb2
from crmkit.feed.feed import Feed
from crmkit.feed.feed_service import FeedService

from .conftest import Source, new_event, new_subject


async def test_pages_follow_one_another_without_gap_or_overlap(source: Source) -> None:
    await source.publish(*(new_event(new_subject()) for _ in range(1203)))
    seen: list[int] = []
    while events := (await source.puller.page(len(seen))).events:
        seen.extend(event.feed_seq for event in events)
    assert seen == list(range(1, 1204))


async def test_a_page_ends_early_at_three_mebibytes_and_is_never_empty(source: Source) -> None:
    big = [new_event(new_subject(), payload=b"\x0a" * 1_000_000) for _ in range(7)]
    await source.publish(*big)
    for service in (FeedService(source.feed), FeedService(Feed(source.database))):
        seen: list[int] = []
        sizes = []
        while True:
            request = feed_pb2.ListFeedEventsRequest(after_seq=len(seen))
            page = await service.ListEvents(request, None)  # type: ignore[arg-type]
            if not page.events:
                break
            seen.extend(event.feed_seq for event in page.events)
            sizes.append(page.ByteSize())
        assert seen == [1, 2, 3, 4, 5, 6, 7]
        assert max(sizes) < 3.5 * 2**20


async def test_a_stream_brings_the_past_and_then_what_happens(source: Source) -> None:
    await source.publish(*(new_event(new_subject()) for _ in range(3)))
    async with aclosing(source.puller.stream(1)) as stream:
        assert [event.feed_seq for event in await anext(stream)] == [2, 3]
        coming = asyncio.ensure_future(anext(stream))
        await source.publish(new_event(new_subject()))
        assert [event.feed_seq for event in await asyncio.wait_for(coming, 5)] == [4]


async def test_a_stream_sees_what_another_process_numbered(source: Source) -> None:
    other = FeedService(Feed(source.database))  # a process without a sequencer
    request = feed_pb2.StreamFeedEventsRequest(after_seq=0)
    stream = other.StreamEvents(request, None)  # type: ignore[arg-type]
    coming = asyncio.ensure_future(anext(stream))
    await source.publish(new_event(new_subject()))
    assert [event.feed_seq for event in (await asyncio.wait_for(coming, 5)).events] == [1]


async def test_the_head_names_the_feed_and_its_end(source: Source) -> None:
    empty = await source.puller.head()
    await source.publish(new_event(new_subject()))
    head = await source.puller.head()
    assert (empty.last_seq, head.last_seq) == (0, 1)
    assert head.feed_id == empty.feed_id != ""
    assert head.chain == (await source.log())[0].chain
