"""Reading once more, for timelines, what other services did before there were any.

Their events had been applied by then, and nothing applies them again. A durable job of the migration that
made the tables reads the feeds from the beginning; entries are made once, however often an event is read.
"""

from datetime import timedelta
from typing import Any

import grpc

from crmkit.call import Call, Home
from crmkit.clients import unavailable
from crmkit.db import Transaction
from crmkit.feed.cursor import read_cursor
from crmkit.feed.events import Event
from crmkit.feed.pull import GrpcPuller
from crmkit.jobs import enqueue
from customer.messaging.timeline import OTHERS
from customer.storage.timeline_source import note_read, past_to_read

JOB = "read_past"
# A process of the release before, which knows no timelines, may have applied events meanwhile.
_UNTIL_OLD_PROCESSES_ARE_GONE = timedelta(minutes=15)


async def read_past(call: Call, arguments: dict[str, Any]) -> None:
    """The job: reads each feed up to where its events are applied, and once more a while later.

    Raises:
        Unavailable: A source cannot be reached; the job goes on from there when it is tried again.
    """
    for source, seq in await past_to_read(call):
        try:
            await _read(call, source, seq)
        except grpc.aio.AioRpcError as error:
            raise unavailable(source) from error
    if not arguments.get("again"):
        again = call.now + _UNTIL_OLD_PROCESSES_ARE_GONE
        await enqueue(call.tx, JOB, {"again": True}, again)


async def _read(call: Call, source: str, seq: int) -> None:
    home = call.home
    puller = GrpcPuller(home.clients.channel(source), home.clients.as_service)
    until = (await read_cursor(home.database, source)).seq
    while seq < until:
        page = await puller.page(seq)
        events = [Event(wire) for wire in page.events]
        if not events:
            break  # the source was restored to an earlier state
        async with home.database.transaction() as tx:
            for event in events:
                await _apply(home, tx, call, event)
            seq = events[-1].feed_seq
            await note_read(tx, source, seq, complete=False)
    async with home.database.transaction() as tx:
        await note_read(tx, source, seq, complete=True)


async def _apply(home: Home, tx: Transaction, call: Call, event: Event) -> None:
    for pattern, handler in OTHERS.items():
        if event.routing_key.startswith(pattern.removesuffix("*")):
            work = Call(home=home, principal=call.principal, now=call.now, tx=tx)
            await handler(event, work)
