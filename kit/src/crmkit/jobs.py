"""Durable jobs: work that is promised in one transaction and done after it, whatever happens.

A job runs at least once: its handler must be repeatable. A worker takes a job for the time of a
lease and renews it while it works; when the worker dies, the lease ends and another takes over.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa
import structlog
from psycopg.types.json import Jsonb

from crmkit import telemetry
from crmkit.access import service_principal
from crmkit.call import Call, Home, new_call
from crmkit.db import Transaction
from crmkit.errors import Aborted, DeadlineExceeded, Failure, ResourceExhausted, Unavailable
from crmkit.ids import uuid7
from crmkit.interceptors.errors import failure_of
from crmkit.job_tables import JOB
from crmkit.statements import compile_statement

JobHandler = Callable[[Call, dict[str, Any]], Awaitable[None]]

LEASE_SECONDS = 30.0
_POLL_SECONDS = 0.5
_MAX_FAILURES = 5
_FIRST_PAUSE_SECONDS = 1.0
_LONGEST_PAUSE_SECONDS = 300.0
_AT_ONCE = 2
_TRANSIENT = (Aborted, DeadlineExceeded, ResourceExhausted, Unavailable)
_log = structlog.get_logger("crm.jobs")

_ENQUEUE = compile_statement(
    sa.text(
        "INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures)"
        " VALUES (:id, :kind, :arguments, 'QUEUED', coalesce(:due_time, now()), 0, 0)"
        " ON CONFLICT (id) DO NOTHING"
    ).bindparams(
        sa.bindparam("id", type_=sa.Uuid),
        sa.bindparam("due_time", type_=sa.TIMESTAMP(timezone=True)),
    )
)
_TAKE = compile_statement(
    sa.text(
        "UPDATE job SET lease = :lease, attempts = attempts + 1,"
        " due_time = now() + make_interval(secs => :seconds)"
        " WHERE id = (SELECT id FROM job WHERE state = 'QUEUED' AND due_time <= now()"
        " AND kind = ANY(:kinds) ORDER BY due_time LIMIT 1 FOR UPDATE SKIP LOCKED)"
        " RETURNING id, kind, arguments, attempts, failures"
    ).bindparams(sa.bindparam("lease", type_=sa.Uuid))
)
_MINE = sa.and_(
    JOB.c.id == sa.bindparam("id", type_=sa.Uuid),
    JOB.c.lease == sa.bindparam("lease", type_=sa.Uuid),
)
_IN_SECONDS = sa.func.now() + sa.func.make_interval(
    0, 0, 0, 0, 0, 0, sa.bindparam("seconds", type_=sa.Double)
)
_RENEW = compile_statement(
    sa.update(JOB).where(_MINE).values(due_time=_IN_SECONDS).returning(JOB.c.id)
)
_UNTRIED = {"lease": sa.null(), "due_time": sa.func.now(), "attempts": JOB.c.attempts - 1}
_GIVE_BACK = compile_statement(sa.update(JOB).where(_MINE).values(_UNTRIED))
_DONE = compile_statement(sa.delete(JOB).where(_MINE).returning(JOB.c.id))
_RELEASE = compile_statement(
    sa.update(JOB)
    .where(_MINE)
    .values(
        lease=sa.null(),
        due_time=_IN_SECONDS,
        state=sa.bindparam("new_state"),
        failures=sa.bindparam("new_failures"),
        error=sa.bindparam("new_error"),
    )
)


async def enqueue(
    tx: Transaction,
    kind: str,
    arguments: Mapping[str, Any],
    due_time: datetime | None = None,
    job_id: UUID | None = None,
) -> UUID:
    """Promises a job in the caller's transaction; it runs only if that commits.

    Args:
        tx: The transaction.
        kind: Which handler runs it.
        arguments: What the handler gets; must be JSON.
        due_time: When it may run at the earliest; at once if not said.
        job_id: An id of the caller's, so that a repeat promises nothing new.
    """
    id_ = job_id or uuid7()
    row = {"id": id_, "kind": kind, "arguments": Jsonb(dict(arguments)), "due_time": due_time}
    await tx.execute(_ENQUEUE, row)
    return id_


@dataclass(frozen=True)
class _Job:
    id: UUID
    kind: str
    arguments: dict[str, Any]
    attempts: int
    failures: int
    lease: UUID


class JobRunner:
    """Works off the jobs of one service."""

    def __init__(
        self,
        home: Home,
        handlers: Mapping[str, JobHandler],
        *,
        lease_seconds: float = LEASE_SECONDS,
        poll_seconds: float = _POLL_SECONDS,
        first_pause_seconds: float = _FIRST_PAUSE_SECONDS,
    ) -> None:
        """Takes the handler of each kind; the rest is for tests."""
        self._home = home
        self._handlers = handlers
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._first_pause_seconds = first_pause_seconds

    async def run(self, stop: asyncio.Event) -> None:
        """Works until told to stop; a job at hand is then given back and falls due at once."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work(stop))

    async def _work(self, stop: asyncio.Event) -> None:
        this = asyncio.current_task()
        assert this is not None
        # A cancel that arrives while a driver cleans up may be swallowed there; it is still counted.
        while not stop.is_set() and not this.cancelling():
            job = None
            with suppress(psycopg.Error, Unavailable, ResourceExhausted):  # the database is away
                job = await self._take_unless_stopped()
            if job is not None:
                await self._run(job)
                continue
            with suppress(TimeoutError):  # not wait_for: before Python 3.12 it can swallow a cancel
                async with asyncio.timeout(self._poll_seconds):
                    await stop.wait()

    async def _take_unless_stopped(self) -> _Job | None:
        """A job; one that is taken while we are told to stop is given back, not left to its lease."""
        taking = asyncio.create_task(self._take())
        try:
            return await asyncio.shield(taking)
        except asyncio.CancelledError:
            with suppress(psycopg.Error, Failure):
                if (job := await taking) is not None:
                    await self._home.database.execute(
                        _GIVE_BACK, {"id": job.id, "lease": job.lease}
                    )
            raise

    async def _take(self) -> _Job | None:
        lease = uuid7()
        parameters = {
            "lease": lease, "seconds": self._lease_seconds, "kinds": list(self._handlers),
        }  # fmt: skip
        row = await self._home.database.fetch_one(_TAKE, parameters)
        if row is None:
            return None
        id_, kind, arguments, attempts, failures = row
        return _Job(id_, kind, arguments, attempts, failures, lease)

    async def _run(self, job: _Job) -> None:
        work = asyncio.create_task(self._handle(job))
        renewal = asyncio.create_task(self._keep_lease(job, work))
        try:
            await work
        except asyncio.CancelledError:
            this = asyncio.current_task()
            if this is not None and this.cancelling():  # we are told to stop
                await self._release(job, "QUEUED", job.failures, None, 0)
                raise
            _log.warning("job lost its lease", kind=job.kind, job=str(job.id))
        except Exception as error:  # noqa: BLE001 - the edge: every error is kept with the job
            await self._failed(job, error)
        finally:
            renewal.cancel()

    async def _handle(self, job: _Job) -> None:
        """Runs the handler; what it wrote in the call's transaction commits with the job's end."""
        call = new_call(self._home, service_principal(self._home.name))
        try:
            with telemetry.work(f"job {job.kind}", call, job=str(job.id)):
                await self._handlers[job.kind](call, job.arguments)
            mine = await call.tx.fetch_one(_DONE, {"id": job.id, "lease": job.lease})
            if mine is not None:
                await call.tx.commit()
        finally:
            await call.tx.end()

    async def _keep_lease(self, job: _Job, work: "asyncio.Task[None]") -> None:
        parameters = {"id": job.id, "lease": job.lease, "seconds": self._lease_seconds}
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            with suppress(psycopg.Error, Failure):  # the database is away: try again
                if await self._home.database.fetch_one(_RENEW, parameters) is None:
                    work.cancel()
                    return

    async def _failed(self, job: _Job, error: Exception) -> None:
        transient = is_transient(error)
        failures = job.failures + (0 if transient else 1)
        state = "FAILED" if failures >= _MAX_FAILURES else "QUEUED"
        message = f"{type(error).__name__}: {error}"[:2000]
        pause = min(
            self._first_pause_seconds * 2.0 ** min(job.attempts - 1, 20), _LONGEST_PAUSE_SECONDS
        )
        _log.warning(
            "job failed", kind=job.kind, job=str(job.id), state=state, attempts=job.attempts,
            exc_info=None if transient else error,
        )  # fmt: skip
        await self._release(job, state, failures, message, pause)

    async def _release(
        self, job: _Job, state: str, failures: int, error: str | None, seconds: float
    ) -> None:
        with suppress(psycopg.Error, Failure):  # the database is away: the lease ends by itself
            await self._home.database.execute(
                _RELEASE,
                {
                    "id": job.id, "lease": job.lease, "seconds": seconds, "new_state": state,
                    "new_failures": failures, "new_error": error,
                },
            )  # fmt: skip


def is_transient(error: Exception) -> bool:
    """True if a repeat may succeed although nothing was mended."""
    return isinstance(failure_of(error), _TRANSIENT)
