"""Waiting for something to become true, with a deadline; tests never sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")
_SECONDS_BETWEEN_LOOKS = 0.02


async def eventually(
    predicate: Callable[[], T | Awaitable[T]],
    timeout: float = 10,  # noqa: ASYNC109 - the deadline is what this function is about
) -> T:
    """Calls a predicate, plain or async, until its answer is true, and returns that answer.

    Args:
        predicate: What to ask; its exceptions pass through at once.
        timeout: Seconds until we give up.

    Raises:
        AssertionError: In vain; names the last answer.
    """
    deadline = time.monotonic() + timeout
    while True:
        answer = predicate()
        value: T = await answer if inspect.isawaitable(answer) else answer  # type: ignore[assignment]
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_in_vain(timeout, value))
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def eventually_sync(predicate: Callable[[], T], timeout: float = 10) -> T:
    """Like `eventually`, for tests without an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_in_vain(timeout, value))
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return value


def _in_vain(timeout: float, value: object) -> str:
    return f"not true within {timeout} s; the last answer was {value!r}"
