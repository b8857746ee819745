"""Who may see which records: one answer, whichever way one asks.

Random teams, people, roles and opportunities, then random changes of them; a model of twenty lines says what
each person sees, and every door is compared with it.
"""

import asyncio
import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import grpc
import httpx
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from crm.common.v1 import event_pb2
from crm.sales.v1 import event_pb2_grpc, opportunity_pb2, opportunity_pb2_grpc
from crmkit.access import RecordScope
from crmkit.feed.event_service import _cursor
from crmkit.statements import Statement
from crmkit.testing import eventually

from .conftest import Client, RunningSystem

SCOPES = [None, RecordScope.OWN, RecordScope.TEAM, RecordScope.SUBTREE, RecordScope.ALL]
DOORS = ("sales.opportunities.*", "sales.events.list", "sales.exports.*", "reporting.metrics.*")
PEOPLE, TEAMS = 4, 4
_WAITING = Statement("SELECT 1 FROM outbox LIMIT 1", {})
person_index = st.integers(0, PEOPLE - 1)
team_index = st.none() | st.integers(0, TEAMS - 1)


# -- the model


@dataclass
class Record:
    """An opportunity: whose it is, of which team it became when they got it, who else may read it."""

    owner: int | None
    team: int | None
    deleted: bool = False
    shared_with: set[tuple[str, int]] = field(default_factory=set)


@dataclass
class World:
    """Everything that rights depend on.

    Attributes:
        parents: Each team's parent, one before it.
        teams: Each person's team.
        scopes: How far each person's roles reach; the widest counts.
        records: What there is.
    """

    parents: list[int | None]
    teams: list[int | None]
    scopes: list[list[RecordScope | None]]
    records: list[Record] = field(default_factory=list)

    def give(self, record: int, person: int | None) -> None:
        team = self.teams[person] if person is not None else None
        self.records[record].owner, self.records[record].team = person, team

    def below(self, team: int) -> set[int]:
        children = [i for i, parent in enumerate(self.parents) if parent == team]
        return {team}.union(*(self.below(child) for child in children))

    def scope(self, person: int) -> RecordScope:
        return max((s or RecordScope.NONE for s in self.scopes[person]), default=RecordScope.NONE)

    def sees(self, person: int, record: Record) -> bool:
        """Within the scope, or shared with a person who may see such records at all, or their team."""
        grantees = {("user", person), ("team", self.teams[person])}
        shared = bool(grantees & record.shared_with) and bool(self.scope(person))
        return shared or self.covers(person, record)

    def covers(self, person: int, record: Record) -> bool:
        scope = self.scope(person)
        if scope is RecordScope.ALL or (scope and record.owner == person):
            return True
        team = self.teams[person]
        if record.team is None or team is None or scope < RecordScope.TEAM:
            return False
        return record.team in (self.below(team) if scope is RecordScope.SUBTREE else {team})


@dataclass(frozen=True)
class Hand:
    """A record gets another owner, or none."""

    record: int
    person: int | None


@dataclass(frozen=True)
class Move:
    """A person changes the team; what is theirs does not."""

    person: int
    team: int | None


@dataclass(frozen=True)
class Share:
    """A record gets a collaborator: a person or a team."""

    record: int
    kind: str
    number: int


@dataclass(frozen=True)
class Delete:
    """A record goes into the trash."""

    record: int


@st.composite
def worlds(draw: st.DrawFn) -> tuple[World, list[int], list[Any]]:
    """A world, the owners of its records, and what then happens."""
    parents = [draw(st.none() | st.integers(0, i - 1)) if i else None for i in range(TEAMS)]
    teams = draw(st.lists(team_index, min_size=PEOPLE, max_size=PEOPLE))
    roles = st.lists(st.sampled_from(SCOPES), min_size=1, max_size=2)
    scopes = draw(st.lists(roles, min_size=PEOPLE, max_size=PEOPLE))
    owners = draw(st.lists(person_index, min_size=1, max_size=7))
    record_index = st.integers(0, len(owners) - 1)
    changes = st.one_of(
        st.builds(Hand, record_index, st.none() | person_index),
        st.builds(Move, person_index, team_index),
        st.builds(Delete, record_index),
        st.builds(Share, record_index, st.just("user"), person_index),
        st.builds(Share, record_index, st.just("team"), st.integers(0, TEAMS - 1)),
    )
    return World(parents, teams, scopes), owners, draw(st.lists(changes, max_size=8))


# -- the system


@dataclass
class Population:
    """The same world in the running system.

    Attributes:
        crm: The system.
        account: The one account of all opportunities of this world.
        teams: Names.
        people: Names.
        clients: One REST client for each person, with an API key.
        records: Names.
        start: Where the events of this world begin.
    """

    crm: RunningSystem
    account: str
    start: str
    roles: dict[RecordScope | None, str]
    teams: list[str] = field(default_factory=list)
    people: list[str] = field(default_factory=list)
    clients: list[Client] = field(default_factory=list)
    records: list[str] = field(default_factory=list)

    async def settle(self, world: World) -> Any:
        """Makes teams and people; waits until every service knows them."""
        admin, mark = self.crm.admin, uuid4()
        for index, parent in enumerate(world.parents):
            body = {"display_name": f"T{index} {mark}"}
            body |= {"parent": self.teams[parent]} if parent is not None else {}
            self.teams.append((await admin.post("/v1/teams", body))["name"])
        for index, team in enumerate(world.teams):
            body = {
                "email": f"{index}.{mark}@crm.test", "display_name": f"P{index}", "kind": "SERVICE",
                "roles": [self.roles[s] for s in dict.fromkeys(world.scopes[index])],
                "team": self.teams[team] if team is not None else None,
            }  # fmt: skip
            person = (await admin.post("/v1/users", body))["name"]
            self.people.append(person)
            key = await admin.post("/v1/apiKeys", {"display_name": "k", "owner": person})
            http = httpx.AsyncClient(base_url=self.crm.system.url, timeout=20, trust_env=False)
            http.headers["authorization"] = f"Bearer {key['key']}"
            self.clients.append(Client(http))
        await self.rights_known(world)

    async def rights_known(self, world: World) -> None:
        """Waits until sales and reporting know everybody's team and roles as they are now."""
        expected = {
            person: (self.teams[team] if team is not None else None, len(set(scopes)))
            for person, team, scopes in zip(self.people, world.teams, world.scopes, strict=True)
        }

        def known() -> bool:
            for service in ("sales", "reporting"):
                rights = self.crm.system.running[service].home.rights
                users = {f"users/{id_}": user for id_, user in rights.users.items()}
                for name, (team, roles) in expected.items():
                    user = users.get(name)
                    if user is None or (f"teams/{user.team}" if user.team else None) != team:
                        return False
                    if len(user.roles) != roles or not set(user.roles) <= rights.roles.keys():
                        return False
                if not {name.partition("/")[2] for name in self.teams} <= {
                    str(t) for t in rights.parents
                }:
                    return False
            return True

        await eventually(known)

    async def make(self, world: World, owner: int) -> None:
        """A record of somebody; its amount is a digit of its own in a sum of all."""
        world.records.append(Record(None, None))
        number = len(self.records)
        world.give(number, owner)
        body = {
            "display_name": f"Deal {number}", "account": self.account, "owner": self.people[owner],
            "amount": {"currency_code": "EUR", "units": str(2**number)},
        }  # fmt: skip
        self.records.append((await self.crm.admin.post("/v1/opportunities", body))["name"])

    async def change(self, world: World, change: Any) -> None:
        """Something happens, in the model and in the system."""
        admin = self.crm.admin
        if isinstance(change, Move):
            world.teams[change.person] = change.team
            body = {"team": self.teams[change.team]} if change.team is not None else {}
            path = f"/v1/{self.people[change.person]}?update_mask=team"
            await admin.patch(path, body)
            await self.rights_known(world)
        elif world.records[change.record].deleted:
            return
        elif isinstance(change, Share):
            grantee = (change.kind, change.number)
            if change.kind == "user" and not world.scope(change.number):
                return  # sharing gives no permission, and is refused
            if grantee not in world.records[change.record].shared_with:
                world.records[change.record].shared_with.add(grantee)
                names = self.people if change.kind == "user" else self.teams
                path = f"/v1/{self.records[change.record]}/collaborators"
                await admin.post(path, {change.kind: names[change.number], "access": "READ"})
        elif isinstance(change, Delete):
            world.records[change.record].deleted = True
            Client._ok(await admin.http.delete(f"/v1/{self.records[change.record]}"))
        elif world.records[change.record].owner != change.person:
            world.give(change.record, change.person)
            body = {"owner": self.people[change.person]} if change.person is not None else {}
            path = f"/v1/{self.records[change.record]}?update_mask=owner"
            await admin.patch(path, body)

    async def reported(self) -> None:
        """Waits until reporting has read all that sales has published, and sales has published all."""
        sales, reporting = (self.crm.system.running[n] for n in ("sales", "reporting"))

        async def all_read() -> bool:
            rows = await sales.database.fetch_all(_WAITING)
            head = (await sales.feed.head()).last_seq
            return not rows and reporting.home.consumed["sales"].applied_seq >= head

        await eventually(all_read)


# -- the doors; each answers the numbers of the records that a person finds there


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


async def newest(crm: RunningSystem) -> str:
    """Where the events of sales end now."""
    head = await crm.system.running["sales"].feed.head()
    return _cursor(head, head.last_seq)


@pytest.fixture(scope="module")
def roles() -> dict[RecordScope | None, str]:
    """The roles of this module, by scope, once they are made."""
    return {}


async def make_roles(crm: RunningSystem, roles: dict[RecordScope | None, str]) -> None:
    for scope in SCOPES:
        doors = DOORS if scope else ()
        grants = [{"permission": p, "record_scope": scope.name} for p in doors if scope]
        body = {"display_name": f"{scope} {uuid4()}", "grants": grants}
        roles[scope] = (await crm.admin.post("/v1/roles", body))["name"]


@settings(
    max_examples=10,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a smaller world takes as long
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(made=worlds())
async def test_every_door_shows_the_same_records(
    crm: RunningSystem, roles: dict[RecordScope | None, str], made: Any
) -> None:
    """INVARIANT: record scope is one thing: no door shows more than another, and none less."""
    if crm.system.options.amqp_url:
        pytest.skip("how events travel decides nothing about who sees what")
    if not roles:
        await make_roles(crm, roles)
    world, owners, changes = made
    world = World(world.parents, list(world.teams), world.scopes)
    account = await crm.admin.post("/v1/accounts", {"display_name": f"Same {uuid4()}"})
    place = Population(crm, account["name"], await newest(crm), roles)
    await place.settle(world)
    for owner in owners:
        await place.make(world, owner)
    for change in changes:
        await place.change(world, change)
    await place.reported()
    address = crm.system.url.removeprefix("http://")
    options = (("grpc.enable_http_proxy", 0),)
    async with grpc.aio.insecure_channel(address, options) as channel:
        doors = [Doors(place, client, channel) for client in place.clients]
        await asyncio.gather(*(look(d, world, person) for person, d in enumerate(doors)))
    for client in place.clients:
        await client.http.aclose()
