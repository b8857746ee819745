"""Hand-overs, as a service that owns records does its part."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.sales.v1 import opportunity_pb2, opportunity_pb2_grpc, product_pb2, product_pb2_grpc
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.feed.events import Event
from crmkit.handover import begin
from crmkit.handover_run import HANDOVER, Run
from crmkit.ids import uuid7
from crmkit.statements import compile_statement
from crmkit.testing import eventually
from crmkit.testing.harness import Person, ServiceUnderTest

Opportunity = opportunity_pb2.Opportunity
STAND = compile_statement(
    sa.select(
        HANDOVER.c.state, HANDOVER.c.total_count, HANDOVER.c.moved_count, HANDOVER.c.failed_count,
        HANDOVER.c.error_message,
    ).where(HANDOVER.c.id == sa.bindparam("id", type_=sa.Uuid))
)  # fmt: skip


def stub(sales: ServiceUnderTest) -> Any:
    return opportunity_pb2_grpc.OpportunityServiceStub(sales.channel)


async def create(sales: ServiceUnderTest, person: Person, count: int = 1) -> list[str]:
    made = []
    for number in range(count):
        opportunity = Opportunity(display_name=f"Deal {number}")
        request = opportunity_pb2.CreateOpportunityRequest(opportunity=opportunity)
        made.append((await stub(sales).CreateOpportunity(request, metadata=person.metadata)).name)
    return made


async def get(sales: ServiceUnderTest, person: Person, name: str) -> Any:
    request = opportunity_pb2.GetOpportunityRequest(name=name)
    return await stub(sales).GetOpportunity(request, metadata=person.metadata)


async def hand_over(
    sales: ServiceUnderTest, user: Person, successor: Person, boss: Person
) -> tuple[Any, UUID]:
    """Hands over; answers how it stands when it has ended, and its id."""
    return await run_to_end(sales, Run(uuid7(), 0, user.id, successor.id, boss.name, "QUEUED"))


async def run_to_end(sales: ServiceUnderTest, run: Run) -> tuple[Any, UUID]:
    id_ = run.id
    async with sales.database.transaction() as tx:
        call = new_call(sales.running.home, service_principal("sales"), tx)
        for _ in range(2):  # a repeat promises nothing new
            await begin(call, run)

    async def ended() -> Any:
        row = await sales.database.fetch_one(STAND, {"id": id_})
        return row if row is not None and row[0] in {"SUCCEEDED", "FAILED"} else None

    return await eventually(ended), id_


async def told(sales: ServiceUnderTest, id_: UUID, state: str) -> list[Event]:
    """What was told of a hand-over, once it has come to a state."""

    async def found() -> list[Event] | None:
        events = list(await sales.events(f"handovers/{id_}"))
        last = events[-1].message.progress
        return events if last.State.Value.Name(last.state) == state else None

    return await eventually(found)


async def test_records_go_to_the_successor_with_event_and_history(sales: ServiceUnderTest) -> None:
    """INVARIANT: each changes once, in the name of who asked, also one in the trash; nobody else's does."""
    boss, team = await sales.person("*"), await sales.team()
    ada, bob = await sales.person("*"), await sales.person("*", team=team)
    mine, theirs = await create(sales, ada, 5), await create(sales, boss)
    delete = opportunity_pb2.DeleteOpportunityRequest(name=mine[0])
    await stub(sales).DeleteOpportunity(delete, metadata=ada.metadata)
    products = product_pb2_grpc.ProductServiceStub(sales.channel)
    product = await products.CreateProduct(
        product_pb2.CreateProductRequest(
            product={"display_name": f"P {uuid7()}", "owner": ada.name}
        ),
        metadata=boss.metadata,
    )
    stand, id_ = await hand_over(sales, ada, bob, boss)
    assert tuple(stand) == ("SUCCEEDED", 6, 6, 0, None)
    for name in mine:
        record = await get(sales, boss, name)
        assert (record.owner, record.team) == (bob.name, f"teams/{team}")
        events = await sales.events(name, count=3 if name == mine[0] else 2)
        assert [e.subject_version for e in events] == list(range(1, len(events) + 1))
        last = events[-1]
        assert (last.actor, last.correlation_id) == (boss.name, f"handovers/{id_}")
        assert "owner" in last.message.changed_fields
    assert (await get(sales, boss, theirs[0])).owner == boss.name
    read = await products.GetProduct(
        product_pb2.GetProductRequest(name=product.name), metadata=boss.metadata
    )
    assert read.owner == bob.name
    progress = [e.message.progress for e in await told(sales, id_, "SUCCEEDED")]
    assert [(p.total_count, p.moved_count) for p in progress][-1] == (6, 6)
    assert [e.subject_version for e in await told(sales, id_, "SUCCEEDED")] == list(
        range(1, len(progress) + 1)
    )
    assert b"Deal" not in b"".join(p.SerializeToString() for p in progress)


async def test_a_record_that_cannot_be_moved_holds_nothing_up(sales: ServiceUnderTest) -> None:
    """It is counted, and named with the reason; all others are moved."""
    boss, ada, bob = [await sales.person("*") for _ in range(3)]
    mine = await create(sales, ada, 7)
    broken = UUID(mine[3].partition("/")[2])
    spoil = sa.text("UPDATE opportunities SET probability = 7 WHERE id = :id").bindparams(
        sa.bindparam("id", type_=sa.Uuid)
    )
    await sales.database.execute(compile_statement(spoil), {"id": broken})
    stand, _ = await hand_over(sales, ada, bob, boss)
    assert tuple(stand[:4]) == ("FAILED", 7, 6, 1)
    assert stand[4].startswith(f"{mine[3]}: ")
    owners = {name: (await get(sales, boss, name)).owner for name in mine}
    assert owners == {name: ada.name if name == mine[3] else bob.name for name in mine}


async def test_nobody_hands_over_to_who_may_not_sign_in(sales: ServiceUnderTest) -> None:
    """INVARIANT: records never end with somebody who has left, too."""
    boss, ada, bob = [await sales.person("*") for _ in range(3)]
    (mine,) = await create(sales, ada)
    leave = sa.text("UPDATE known_user SET active = false WHERE id = :id")
    await sales.database.execute(compile_statement(leave), {"id": bob.id})
    await sales.running.home.rights.reload()
    stand, _ = await hand_over(sales, ada, bob, boss)
    assert stand[0] == "FAILED"
    assert (await get(sales, boss, mine)).owner == ada.name


# -- of a team


async def test_a_team_that_ends_gives_its_records_to_another(sales: ServiceUnderTest) -> None:
    """INVARIANT: those of the team, whoever has them, also in the trash, once each; their owners stay, and
    records of teams below, and what is everybody's, are not touched."""
    boss = await sales.person("*")
    east, west = await sales.team(), await sales.team()
    below = await sales.team(parent=east)
    ada, bob = [await sales.person("*", team=east) for _ in range(2)]
    eve = await sales.person("*", team=below)
    mine = [*await create(sales, ada, 3), *await create(sales, bob, 2)]
    theirs = await create(sales, eve)
    delete = opportunity_pb2.DeleteOpportunityRequest(name=mine[0])
    await stub(sales).DeleteOpportunity(delete, metadata=ada.metadata)
    run = Run(uuid7(), 0, None, None, boss.name, "QUEUED", former_team=east, successor_team=west)
    stand, id_ = await run_to_end(sales, run)
    assert tuple(stand) == ("SUCCEEDED", 5, 5, 0, None)
    for index, name in enumerate(mine):
        record = await get(sales, boss, name)
        owner = ada if index < 3 else bob
        assert (record.owner, record.team) == (owner.name, f"teams/{west}")
        last = (await sales.events(name, count=3 if index == 0 else 2))[-1]
        assert (last.team, list(last.message.changed_fields)) == (west, ["team"])
        assert last.correlation_id == f"handovers/{id_}"
    assert (await get(sales, boss, theirs[0])).team == f"teams/{below}"


async def test_a_team_that_ends_gives_its_records_to_a_person(sales: ServiceUnderTest) -> None:
    """They are the successor's, in the successor's team, also those that were the successor's already."""
    boss, east, west = await sales.person("*"), await sales.team(), await sales.team()
    ada, bob = [await sales.person("*", team=east) for _ in range(2)]
    mine = [*await create(sales, ada, 2), *await create(sales, bob)]
    move = sa.text("UPDATE known_user SET team = :team WHERE id = :id").bindparams(
        sa.bindparam("team", type_=sa.Uuid), sa.bindparam("id", type_=sa.Uuid)
    )
    await sales.database.execute(compile_statement(move), {"team": west, "id": bob.id})
    await sales.running.home.rights.reload()
    run = Run(uuid7(), 0, None, bob.id, boss.name, "QUEUED", former_team=east)
    stand, _ = await run_to_end(sales, run)
    assert tuple(stand) == ("SUCCEEDED", 3, 3, 0, None)
    for name in mine:
        record = await get(sales, boss, name)
        assert (record.owner, record.team) == (bob.name, f"teams/{west}")


async def test_records_go_to_no_team_that_is_no_more(sales: ServiceUnderTest) -> None:
    boss, east = await sales.person("*"), await sales.team()
    ada = await sales.person("*", team=east)
    (mine,) = await create(sales, ada)
    run = Run(uuid7(), 0, None, None, boss.name, "QUEUED", former_team=east, successor_team=uuid7())
    stand, _ = await run_to_end(sales, run)
    assert (stand[0], stand[4]) == ("FAILED", "There is no such team any more.")
    assert (await get(sales, boss, mine)).team == f"teams/{east}"
