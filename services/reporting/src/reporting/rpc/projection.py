"""ProjectionService."""

import asyncio

import grpc

from crm.reporting.v1 import projection_pb2 as pb
from crmkit.call import Call, Home
from crmkit.errors import Failure
from crmkit.feed.parking import count_parked
from crmkit.feed.pull import GrpcPuller
from reporting.projections.handlers import sources
from reporting.projections.rebuild import is_running, request_rebuild
from reporting.queries.freshness import data_times
from reporting.queries.status import applied_sequences, last_rebuild
from reporting.storage.facts_hash import facts_hash

_SECONDS_FOR_A_HEAD = 2.0
_UNKNOWN = -1


class ProjectionService:
    """`crm.reporting.v1.ProjectionService`."""

    async def GetProjectionStatus(
        self, request: pb.GetProjectionStatusRequest, call: Call
    ) -> pb.ProjectionStatus:
        """How far each source has been read."""
        status = await _status(call.home)
        if request.hash_facts:
            status.facts_hash = await facts_hash(call.home.database)
        return status

    async def RebuildProjection(
        self, request: pb.RebuildProjectionRequest, call: Call
    ) -> pb.ProjectionStatus:
        """Promises a rebuild and answers at once."""
        await request_rebuild(call.home.database)
        return await _status(call.home)


async def _status(home: Home) -> pb.ProjectionStatus:
    database = home.database
    heads = await asyncio.gather(*(_head(home, source) for source in sources()))
    applied = await applied_sequences(database)
    parked, times = await count_parked(database), await data_times(home)
    status = pb.ProjectionStatus(state=pb.ProjectionStatus.LIVE)
    for source, head in zip(sources(), heads, strict=True):
        entry = status.sources.add(
            source=source,
            applied_seq=applied.get(source, 0),
            head_seq=head,
            parked_count=parked.get(source, 0),
        )
        time = times.get(source)
        if time is not None:
            entry.data_time.FromDatetime(time)
        if entry.applied_seq < head:
            status.state = pb.ProjectionStatus.CATCHING_UP
    if await is_running(database):
        status.state = pb.ProjectionStatus.REBUILDING
    rebuilt = await last_rebuild(database)
    if rebuilt is not None:
        status.rebuild_time.FromDatetime(rebuilt)
    return status


async def _head(home: Home, source: str) -> int:
    try:
        puller = GrpcPuller(home.clients.channel(source), home.clients.as_service)
        async with asyncio.timeout(_SECONDS_FOR_A_HEAD):
            return (await puller.head()).last_seq
    except (grpc.aio.AioRpcError, Failure, TimeoutError):
        return _UNKNOWN
