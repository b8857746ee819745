"""Jobs against a real PostgreSQL: promised once, done at least once, whoever dies in between."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa

from crmkit.call import Call
from crmkit.db import Database
from crmkit.errors import InvalidArgument, Unavailable
from crmkit.ids import uuid7
from crmkit.jobs import JobRunner, enqueue
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.postgres import TestServer, create_platform_tables

Handler = Callable[[Call, dict[str, Any]], Awaitable[None]]
_JOBS = compile_statement(sa.text("SELECT state, attempts, failures, error FROM job"))


@pytest_asyncio.fixture
async def database(
    postgres: TestServer, new_database: Callable[[str | None], str]
) -> AsyncIterator[Database]:
    opened = Database(new_database(postgres.template_database("platform", create_platform_tables)))
    await opened.open()
    yield opened
    await opened.close()


@asynccontextmanager
async def working(
    database: Database, handlers: Mapping[str, Handler], lease_seconds: float = 30
) -> AsyncIterator["asyncio.Task[None]"]:
    """A worker that polls all the time, stopped as a service stops it."""
    home: Any = SimpleNamespace(name="test", database=database)
    runner = JobRunner(
        home,
        handlers,
        lease_seconds=lease_seconds,
        poll_seconds=0.01,
        first_pause_seconds=0.01,
    )
    task = asyncio.create_task(runner.run(asyncio.Event()))
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def jobs(database: Database) -> list[tuple[Any, ...]]:
    return await database.fetch_all(_JOBS)


async def promise(database: Database, kind: str = "work", **arguments: object) -> None:
    async with database.transaction() as tx:
        await enqueue(tx, kind, arguments)


async def test_a_promised_job_runs_once_with_its_arguments_and_is_gone(
    database: Database,
) -> None:
    """INVARIANT: a job that succeeds runs once and leaves nothing behind."""
    seen = []

    async def handler(call: Call, arguments: dict[str, Any]) -> None:
        seen.append((call.principal.name, arguments))

    await promise(database, number=7)
    async with working(database, {"work": handler}):
        await eventually(lambda: seen)
        await eventually(lambda: _none_left(database))
    assert seen == [("services/test", {"number": 7})]


async def _none_left(database: Database) -> bool:
    return not await jobs(database)


async def test_a_job_promised_in_a_transaction_that_rolls_back_does_not_exist(
    database: Database,
) -> None:
    """INVARIANT: the promise and its reason stand or fall together."""

    async def promise_and_fail() -> None:
        async with database.transaction() as tx:
            await enqueue(tx, "work", {})
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await promise_and_fail()
    assert await jobs(database) == []


async def test_promising_the_same_id_twice_promises_once(database: Database) -> None:
    """INVARIANT: a repeat with the caller's own id promises nothing new."""
    id_ = uuid7()
    for _ in range(2):
        async with database.transaction() as tx:
            await enqueue(tx, "work", {}, job_id=id_)
    assert len(await jobs(database)) == 1


async def test_what_a_handler_wrote_and_the_end_of_its_job_commit_together(
    database: Database,
) -> None:
    """INVARIANT: a handler that fails has written nothing in its call's transaction."""
    attempts = []

    async def handler(call: Call, _arguments: dict[str, Any]) -> None:
        attempts.append(1)
        await enqueue(call.tx, "follow-up", {})
        if len(attempts) == 1:
            msg = "first attempt"
            raise ValueError(msg)

    followed = []

    async def follow_up(_call: Call, _arguments: dict[str, Any]) -> None:
        followed.append(1)

    await promise(database)
    async with working(database, {"work": handler, "follow-up": follow_up}):
        await eventually(lambda: _none_left(database))
    assert len(attempts) == 2
    assert len(followed) == 1


async def test_a_job_that_fails_again_and_again_is_kept_with_its_error(
    database: Database,
) -> None:
    """INVARIANT: a job that cannot succeed ends FAILED with its error, not for ever in the queue."""

    async def handler(_call: Call, _arguments: dict[str, Any]) -> None:
        msg = "never"
        raise InvalidArgument(msg)

    await promise(database)
    async with working(database, {"work": handler}):

        async def failed() -> bool:
            return (await jobs(database))[0][0] == "FAILED"

        await eventually(failed)
    assert await jobs(database) == [("FAILED", 5, 5, "InvalidArgument: never")]


async def test_a_passing_trouble_never_fails_a_job(database: Database) -> None:
    """INVARIANT: what may pass is tried again however often."""
    attempts = []

    async def handler(_call: Call, _arguments: dict[str, Any]) -> None:
        attempts.append(1)
        if len(attempts) < 7:
            msg = "away"
            raise Unavailable(msg)

    await promise(database)
    async with working(database, {"work": handler}):
        await eventually(lambda: _none_left(database), timeout=30)
    assert len(attempts) == 7


async def test_an_abandoned_job_is_taken_over_when_its_lease_ends(database: Database) -> None:
    """INVARIANT: a worker that dies without a word delays its job by the lease, no more."""
    take = compile_statement(
        sa.text(
            "UPDATE job SET lease = gen_random_uuid(), attempts = 1,"
            " due_time = now() + interval '0.3 s'"
        )
    )
    runs = []

    async def handler(_call: Call, _arguments: dict[str, Any]) -> None:
        runs.append(1)

    await promise(database)
    await database.execute(take)  # as a worker does that then loses its power
    async with working(database, {"work": handler}):
        await eventually(lambda: _none_left(database))
    assert runs == [1]


async def test_a_lease_is_renewed_while_the_work_goes_on(database: Database) -> None:
    """INVARIANT: work that takes longer than the lease is not begun a second time."""
    begun, go_on = [], asyncio.Event()
    later = compile_statement(sa.text("SELECT now() > :start + interval '4 s'"))
    start = await database.fetch_one(compile_statement(sa.text("SELECT now()")))
    assert start is not None

    async def handler(_call: Call, _arguments: dict[str, Any]) -> None:
        begun.append(1)
        await go_on.wait()

    async def three_leases_have_passed() -> bool:
        row = await database.fetch_one(later, {"start": start[0]})
        return bool(row and row[0])

    await promise(database)
    async with working(database, {"work": handler}, 1.3), working(database, {"work": handler}, 1.3):
        await eventually(three_leases_have_passed, timeout=20)
        go_on.set()
        await eventually(lambda: _none_left(database))
    assert begun == [1]


async def test_a_worker_that_lost_its_lease_stops_and_ends_nothing(database: Database) -> None:
    """INVARIANT: only the holder of the lease ends a job."""
    cancelled = []
    steal = compile_statement(
        sa.text("UPDATE job SET lease = gen_random_uuid(), due_time = now() + interval '1 h'")
    )
    begun = asyncio.Event()

    async def handler(_call: Call, _arguments: dict[str, Any]) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.append(1)
            raise

    await promise(database)
    async with working(database, {"work": handler}, 0.3):
        await begun.wait()
        await database.execute(steal)
        await eventually(lambda: cancelled)
        assert len(await jobs(database)) == 1


async def test_stopping_gives_the_job_at_hand_back_at_once(database: Database) -> None:
    """INVARIANT: a planned stop costs a job no lease and no failure."""
    begun = asyncio.Event()

    async def endless(_call: Call, _arguments: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async def quick(_call: Call, _arguments: dict[str, Any]) -> None:
        return

    await promise(database)
    async with working(database, {"work": endless}):
        await begun.wait()
    assert await jobs(database) == [("QUEUED", 1, 0, None)]
    async with working(database, {"work": quick}):
        await eventually(lambda: _none_left(database))


async def test_a_job_taken_while_its_worker_is_told_to_stop_is_given_back(
    database: Database,
) -> None:
    """INVARIANT: no lease is held by nobody: the stop may come while the database hands out the job."""
    held = compile_statement(
        sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    )

    async def never(_call: Call, _arguments: dict[str, Any]) -> None:
        raise AssertionError

    await promise(database)
    async with database.connection() as connection:
        await connection.execute("BEGIN")
        await connection.execute("LOCK TABLE job IN ACCESS EXCLUSIVE MODE")
        async with working(database, {"work": never}) as worker:

            async def waits() -> bool:
                row = await database.fetch_one(held)
                return bool(row and row[0])

            await eventually(waits)
            worker.cancel()
            await connection.execute("COMMIT")
    free = compile_statement(
        sa.text("SELECT lease IS NULL AND due_time <= now() AND attempts = 0 FROM job")
    )
    assert await database.fetch_all(free) == [(True,)]
