"""A closed loop of clients that counts what it gets done."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Load:
    """What a loop of clients got done.

    Attributes:
        per_second: Calls answered a second.
        median_ms: Median duration of a call.
    """

    per_second: float
    median_ms: float


async def closed_loop(
    call: Callable[[int], Awaitable[object]], *, clients: int = 16, seconds: float = 3.0
) -> Load:
    """Runs `clients` loops that each call again as soon as they are answered.

    `call` gets a number that is different for every call. A failing call ends the measurement.
    """
    durations: list[float] = []
    numbers = iter(range(1_000_000_000))
    deadline = time.perf_counter() + seconds

    async def client() -> None:
        while (started := time.perf_counter()) < deadline:
            await call(next(numbers))
            durations.append(time.perf_counter() - started)

    began = time.perf_counter()
    await asyncio.gather(*(client() for _ in range(clients)))
    elapsed = time.perf_counter() - began
    durations.sort()
    return Load(len(durations) / elapsed, durations[len(durations) // 2] * 1000)


async def in_turns(
    ours: Callable[[int], Awaitable[object]],
    reference: Callable[[int], Awaitable[object]],
    *,
    rounds: int = 3,
    seconds: float = 2.0,
) -> tuple[float, float]:
    """Calls a second of both, measured in turns so that a drifting machine hits both alike; medians."""
    await closed_loop(ours, seconds=0.5)
    await closed_loop(reference, seconds=0.5)
    pairs = [
        (
            (await closed_loop(ours, seconds=seconds)).per_second,
            (await closed_loop(reference, seconds=seconds)).per_second,
        )
        for _ in range(rounds)
    ]
    pairs.sort(key=lambda pair: pair[0] / pair[1])
    return pairs[len(pairs) // 2]
