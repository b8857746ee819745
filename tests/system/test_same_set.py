"""Who may see which records: one answer, whichever way one asks.

Random teams, people, roles and opportunities, then random changes of them; a model of twenty lines says what
each person sees, and every door is compared with it.
"""

import asyncio
from typing import Any
from uuid import uuid4

import grpc
import pytest
from hypothesis import HealthCheck, Phase, given, settings

from crmkit.access import RecordScope
from crmkit.feed.event_service import _cursor

from .conftest import RunningSystem
from .scope_doors import Doors, look
from .scope_model import SCOPES, World, worlds
from .scope_population import Population

DOORS = ("sales.opportunities.*", "sales.events.list", "sales.exports.*", "reporting.metrics.*")


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
