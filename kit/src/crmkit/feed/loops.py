"""What the feed's endless loops share: stopping, backing off, gathering what is ready."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def run_until(stop: asyncio.Event, work: Coroutine[Any, Any, None]) -> None:
    """Runs `work` until it ends or `stop` is set, which cancels it; raises what it raises."""
    working = asyncio.ensure_future(work)
    stopping = asyncio.ensure_future(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            working.result()
    finally:
        working.cancel()
        stopping.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)


def going_on() -> bool:
    """False once the current task was told to stop.

    A cancel that arrives while a driver cleans up may be swallowed there; it is still counted. A loop
    that only waits for the next cancel would never end, and whoever stops it would wait for ever.
    """
    task = asyncio.current_task()
    return task is None or not task.cancelling()


class Backoff:
    """Growing pauses with jitter between attempts: 0.2 s, 0.4 s … 30 s."""

    def __init__(self, first: float = 0.2, longest: float = 30.0) -> None:
        self._first = first
        self._longest = longest
        self._next = first

    def reset(self) -> None:
        """The attempt succeeded: the next pause is short again."""
        self._next = self._first

    async def pause(self) -> None:
        """Waits between half of the current pause and all of it."""
        seconds = self._next * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        self._next = min(self._next * 2, self._longest)
        await asyncio.sleep(seconds)


async def take(queue: "asyncio.Queue[T]", limit: int) -> list[T]:
    """Waits for one item and takes with it what else is ready, in order."""
    items = [await queue.get()]
    while len(items) < limit and not queue.empty():
        items.append(queue.get_nowait())
    return items
