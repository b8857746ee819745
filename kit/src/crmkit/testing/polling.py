"""Waiting for something to become true, with a deadline; tests never sleep."""

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar, overload

T = TypeVar("T")
_SECONDS_BETWEEN_LOOKS = 0.02


@overload
async def eventually(predicate: Callable[[], Awaitable[T]], timeout: float = ...) -> T: ...  # noqa: ASYNC109


@overload
async def eventually(predicate: Callable[[], T], timeout: float = ...) -> T: ...  # noqa: ASYNC109


async def eventually(
    predicate: Callable[[], Any],
    timeout: float = 30,  # noqa: ASYNC109 - the deadline is what this function is about
) -> Any:
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
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(_in_vain(timeout, value))
        await asyncio.sleep(_SECONDS_BETWEEN_LOOKS)


def eventually_sync(predicate: Callable[[], T], timeout: float = 30) -> T:
    """Like `eventually`, for tests without an event loop."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(_in_vain(timeout, value))
        time.sleep(_SECONDS_BETWEEN_LOOKS)
    return value


def _in_vain(timeout: float, value: object) -> str:
    return f"not true within {timeout} s; the last answer was {value!r}"
