"""Every door through which a person may find a record; each answers the records that they find there."""

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import grpc
import pytest

from crm.common.v1 import event_pb2
from crm.sales.v1 import event_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmkit.testing import eventually

from .conftest import Client
from .scope_model import World
from .scope_population import Population


@dataclass
class Doors:
    """One person's ways to the records."""

    place: Population
    client: Client
    channel: grpc.aio.Channel

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("authorization", self.client.http.headers["authorization"]),)

    @property
    def stub(self) -> Any:
        return opportunity_pb2_grpc.OpportunityServiceStub(self.channel)

    def numbers(self, names: Sequence[str]) -> set[int]:
        assert len(set(names)) == len(names), "a record twice"
        return {self.place.records.index(name) for name in names}

    async def get(self) -> set[int]:
        async def there(name: str) -> bool:
            try:
                request = opportunity_pb2.GetOpportunityRequest(name=name)
                await self.stub.GetOpportunity(request, metadata=self.metadata)
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.NOT_FOUND:
                    raise
                return False
            return True

        found = await asyncio.gather(*(there(name) for name in self.place.records))
        return {number for number, one in enumerate(found) if one}

    async def listed(self, *, show_deleted: bool = False) -> set[int]:
        names: list[str] = []
        token = ""
        while True:
            request = opportunity_pb2.ListOpportunitiesRequest(
                filter=f'account = "{self.place.account}"', order_by="amount desc", page_size=2,
                page_token=token, show_deleted=show_deleted,
            )  # fmt: skip
            page = await self.stub.ListOpportunities(request, metadata=self.metadata)
            names += [o.name for o in page.opportunities]
            token = page.next_page_token
            if not token:
                return self.numbers(names)

    async def over_rest(self) -> set[int]:
        page = await self.client.get(
            "/v1/opportunities", filter=f'account = "{self.place.account}"', page_size=1000
        )
        return self.numbers([one["name"] for one in page.get("opportunities", [])])

    async def batch(self, visible: set[int]) -> set[int]:
        """Those that are visible at once; with any other nothing at all."""
        for number, name in enumerate(self.place.records):
            if number not in visible:
                names = [*(self.place.records[n] for n in visible), name]
                request = opportunity_pb2.BatchGetOpportunitiesRequest(names=names)
                with pytest.raises(grpc.aio.AioRpcError) as refused:
                    await self.stub.BatchGetOpportunities(request, metadata=self.metadata)
                assert refused.value.code() == grpc.StatusCode.NOT_FOUND
        if not visible:
            return set()
        names = [self.place.records[n] for n in visible]
        request = opportunity_pb2.BatchGetOpportunitiesRequest(names=names)
        batch = await self.stub.BatchGetOpportunities(request, metadata=self.metadata)
        return self.numbers([one.name for one in batch.opportunities])

    async def exported(self) -> set[int]:
        wanted = {"resource": "opportunities", "filter": f'account = "{self.place.account}"'}
        run = await self.client.post("/v1/sales/exports", wanted)

        async def ended() -> Any:
            now = await self.client.get(f"/v1/sales/{run['name']}")
            return now if "end_time" in now else None

        run = await eventually(ended)
        assert run["state"] == "SUCCEEDED", run
        answer = await self.client.http.get(f"/v1/sales/{run['name']}:download")
        rows = list(csv.DictReader(io.StringIO(answer.text)))
        assert int(run.get("total_rows", 0)) == len(rows)
        return self.numbers([row["name"] for row in rows])

    async def reported(self, *group_by: str) -> set[int]:
        body = {
            "metrics": ["pipeline_amount", "opportunities_open"], "group_by": group_by,
            "filter": f'account = "{self.place.account}"', "currency_code": "EUR",
        }  # fmt: skip
        rows = (await self.client.post("/v1/metrics:query", body)).get("rows", [])
        digits = sum(int(float(r["values"].get("pipeline_amount", "0"))) for r in rows)
        found = {n for n in range(len(self.place.records)) if digits >> n & 1}
        assert sum(int(r["values"].get("opportunities_open", "0")) for r in rows) == len(found)
        return found

    async def events(self) -> tuple[set[int], list[str]]:
        """The records that events tell of, and the ids of those events."""
        subjects: list[str] = []
        ids: list[str] = []
        stub: Any = event_pb2_grpc.EventServiceStub(self.channel)
        cursor = self.place.start
        while True:
            request = event_pb2.ListEventsRequest(cursor=cursor, page_size=5)
            page = await stub.ListEvents(request, metadata=self.metadata)
            ours = [e for e in page.events if e.subject in self.place.records]
            subjects += [e.subject for e in ours]
            ids += [e.event_id for e in ours]
            if page.next_cursor == cursor:
                return self.numbers(list(dict.fromkeys(subjects))), ids
            cursor = page.next_cursor

    async def streamed(self, count: int) -> list[str]:
        """The ids of the first events of the stream."""
        stub: Any = event_pb2_grpc.EventServiceStub(self.channel)
        request = event_pb2.StreamEventsRequest(cursor=self.place.start)
        call = stub.StreamEvents(request, metadata=self.metadata)
        ids: list[str] = []
        try:
            async with asyncio.timeout(10):
                while len(ids) < count:
                    event = await call.read()
                    if event.subject in self.place.records:
                        ids.append(event.event_id)
        finally:
            call.cancel()
        return ids


async def look(doors: Doors, world: World, person: int) -> None:
    """Every door shows a person the same records: those that the model says."""
    everything = {n for n, r in enumerate(world.records) if world.sees(person, r)}
    visible = {n for n in everything if not world.records[n].deleted}
    # Figures count by owner and team alone.
    counted = {n for n in visible if world.covers(person, world.records[n])}
    if not any(world.scopes[person]):
        for door in (doors.get, doors.listed, doors.over_rest):
            with pytest.raises((grpc.aio.AioRpcError, AssertionError), match="PERMISSION_DENIED"):
                await door()
        return
    told, ids = await doors.events()
    found = {
        "get": (await doors.get(), everything),
        "list": (await doors.listed(), visible),
        "list with the trash": (await doors.listed(show_deleted=True), everything),
        "REST": (await doors.over_rest(), visible),
        "batch get": (await doors.batch(everything), everything),
        "export": (await doors.exported(), visible),
        "report": (await doors.reported(), counted),
        "report by owner and team": (await doors.reported("owner", "team"), counted),
        "events": (told, everything),
    }
    differences = {
        name: f"{sorted(got)}, not {sorted(wanted)}"
        for name, (got, wanted) in found.items()
        if got != wanted
    }
    assert not differences
    assert await doors.streamed(len(ids)) == ids
