"""Building all facts anew from the services' feeds, beside the live ones, and swapping them in.

A durable job: killed in the middle it begins again, and queries keep their answers from the old
facts until the swap commits together with the end of the job.
"""

import asyncio
from contextlib import suppress
from typing import Any
from uuid import UUID

import grpc
import psycopg
import structlog

from crmkit.access import service_principal
from crmkit.call import Call, Home
from crmkit.clients import unavailable
from crmkit.consumer_status import ConsumerState
from crmkit.db import Database, Transaction
from crmkit.errors import FailedPrecondition, Failure
from crmkit.feed.consumer import Consumer
from crmkit.feed.cursor import Cursor, read_cursor
from crmkit.feed.events import Event
from crmkit.feed.faults import describe
from crmkit.feed.pull import GrpcPuller, Puller
from crmkit.jobs import enqueue
from crmkit.statements import Statement
from reporting.projections.handlers import handlers_of, sources
from reporting.storage import build

JOB = "rebuild_facts"
# There is one rebuild at a time: its job always has this id.
_JOB_ID = UUID("0197f000-0000-7000-8000-000000000001")
_SECONDS_BETWEEN_LOOKS = 2.0
_LOCK = Statement("SELECT pg_advisory_xact_lock(7498085)", {})
_STATE = Statement("SELECT state FROM job WHERE id = %(id)s", {})
_FORGET = Statement("DELETE FROM job WHERE id = %(id)s", {})
_THIS = {"id": _JOB_ID}
_log = structlog.get_logger(__name__)


async def is_running(database: Database) -> bool:
    """True while a rebuild is promised or at work, in whatever process."""
    row = await database.fetch_one(_STATE, _THIS)
    return row is not None and row[0] == "QUEUED"


async def request_rebuild(database: Database) -> None:
    """Promises a rebuild; raises FailedPrecondition `REBUILD_RUNNING` while there is one."""
    async with database.transaction() as tx:
        await tx.fetch_one(_LOCK)
        row = await tx.fetch_one(_STATE, _THIS)
        if row is not None and row[0] == "QUEUED":
            msg = "The facts are being built anew already."
            raise FailedPrecondition(msg, reason="REBUILD_RUNNING")
        await tx.execute(_FORGET, _THIS)  # one that failed for good
        await enqueue(tx, JOB, {}, job_id=_JOB_ID)


async def rebuild(call: Call, _arguments: dict[str, Any]) -> None:
    """The job: fills a copy of the facts from the beginning of every feed and swaps it in.

    Raises:
        Unavailable: A source cannot be reached; the job is tried again.
    """
    home = call.home
    schema = await build.create(home.database)
    copy = Database(home.database.url, max_connections=len(sources()) + 1, schema=schema)
    await copy.open()
    try:
        continued = await asyncio.gather(*(_fill(home, copy, source) for source in sources()))
        await build.settle(copy)
    finally:
        await copy.close()
    diverged = {source for source, ok in zip(sources(), continued, strict=True) if not ok}
    await build.swap(call.tx, schema, call.now, diverged)


async def _fill(home: Home, copy: Database, source: str) -> bool:
    """Applies a source's whole feed to the copy; False if it is not the feed of the live facts."""
    puller = _puller(home, source)

    def call_of(tx: Transaction, event: Event) -> Call:
        principal = service_principal(home.name)
        return Call(home=home, principal=principal, now=event.time, tx=tx)

    consumer = Consumer(source, copy, handlers_of(source), call_of, puller, retry_seconds=())
    try:
        await consumer.catch_up()
        return await _continues(await read_cursor(home.database, source), puller)
    except grpc.aio.AioRpcError as error:
        raise unavailable(source) from error


def _puller(home: Home, source: str) -> Puller:
    return GrpcPuller(home.clients.channel(source), home.clients.as_service)


async def _continues(cursor: Cursor, puller: Puller) -> bool:
    """True if the feed holds the event that the cursor stands at."""
    if not cursor.feed_id:
        return True
    page = await puller.page(max(cursor.seq - 1, 0))
    same = page.head.feed_id == cursor.feed_id
    if cursor.seq == 0:
        return same
    return same and bool(page.events) and page.events[0].chain == cursor.chain


async def rebuild_diverged(home: Home, stop: asyncio.Event) -> None:
    """Asks for a rebuild when a source has another feed than before, until told to stop."""
    while not stop.is_set():
        for source, status in home.consumed.items():
            if status.state is ConsumerState.DIVERGED:
                await _rebuild_if_still(home, source)
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                await stop.wait()


async def _rebuild_if_still(home: Home, source: str) -> None:
    try:
        cursor = await read_cursor(home.database, source)
        if not await _continues(cursor, _puller(home, source)):
            await request_rebuild(home.database)
            _log.warning("rebuild_requested", source=source)
    except (
        Failure,
        psycopg.Error,
        grpc.aio.AioRpcError,
    ) as error:  # one is running, or somebody is away
        _log.info("check_failed", source=source, error=describe(error))
