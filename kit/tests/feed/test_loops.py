"""INVARIANT: a loop that was told to stop ends, also where a driver swallowed the cancel.

Broken by `while True`: on Python 3.11 a service then never stopped, now and then.
"""

import asyncio

from crmkit.feed.loops import going_on, run_until


async def test_a_loop_ends_though_its_cancel_was_swallowed() -> None:
    rounds = 0
    begun = asyncio.Event()

    async def work() -> None:
        nonlocal rounds
        while going_on():
            rounds += 1
            begun.set()
            try:
                await asyncio.sleep(60)
            except asyncio.CancelledError:
                continue  # as a driver does that is cleaning up

    stop = asyncio.Event()
    running = asyncio.create_task(run_until(stop, work()))
    await begun.wait()
    stop.set()
    await asyncio.wait_for(running, 5)
    assert rounds == 1


async def test_a_time_limit_that_has_passed_does_not_stop_a_loop() -> None:
    """A time-out cancels too, and takes it back."""
    try:
        async with asyncio.timeout(0):
            await asyncio.sleep(60)
    except TimeoutError:
        pass
    assert going_on()
