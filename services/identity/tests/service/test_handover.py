"""Hand-overs over gRPC: who may begin one, to whom, and how far it has come."""

from typing import TYPE_CHECKING, Any

import grpc
import pytest

from crm.common.v1.handover_pb2 import HandoverProgress
from crm.identity.v1 import handover_pb2, handover_pb2_grpc, user_pb2
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.harness import details_of
from identity.storage.handover import note_part, taking_part

if TYPE_CHECKING:
    from conftest import Identity, SignedIn

Handover = handover_pb2.Handover
State = HandoverProgress.State


def stub(identity: "Identity") -> Any:
    return handover_pb2_grpc.HandoverServiceStub(identity.under_test.channel)


async def begin(identity: "Identity", by: "SignedIn", user: str, successor: str) -> Any:
    request = handover_pb2.CreateHandoverRequest(handover=Handover(user=user, successor=successor))
    return await stub(identity).CreateHandover(request, metadata=by.metadata)


async def deactivate(identity: "Identity", by: "SignedIn", user: str, successor: str = "") -> Any:
    request = user_pb2.DeactivateUserRequest(name=user, successor=successor)
    return await identity.users.DeactivateUser(request, metadata=by.metadata)


async def get(identity: "Identity", by: "SignedIn", name: str) -> Any:
    request = handover_pb2.GetHandoverRequest(name=name)
    return await stub(identity).GetHandover(request, metadata=by.metadata)


async def tell(identity: "Identity", name: str, service: str, state: str, *counts: int) -> None:
    """A service has come so far."""
    total, moved, failed = counts
    told = HandoverProgress(
        handover=name, state=State.Value.Value(state),
        total_count=total, moved_count=moved, failed_count=failed,
    )  # fmt: skip
    async with identity.under_test.database.transaction() as tx:
        call = new_call(identity.under_test.running.home, service_principal("identity"), tx)
        await note_part(call, told, service)


async def refusal(call: Any) -> tuple[grpc.StatusCode, str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    details = details_of(refused.value)
    return refused.value.code(), details["reason"], details["fields"]


async def test_who_is_deactivated_hands_over_in_one_act(identity: "Identity") -> None:
    """INVARIANT: one transaction: deactivated and handed over, or neither."""
    admin = await identity.administrator()
    ada, bob, gone = await identity.user(), await identity.user(), await identity.user()
    await deactivate(identity, admin, gone.name)
    code, reason, fields = await refusal(deactivate(identity, admin, ada.name, gone.name))
    assert (code, reason) == (grpc.StatusCode.FAILED_PRECONDITION, "SUCCESSOR_NOT_ACTIVE")
    assert fields == ["successor"]
    nobody = f"users/{uuid7()}"
    assert await refusal(deactivate(identity, admin, ada.name, nobody)) == (
        grpc.StatusCode.NOT_FOUND, "REFERENCE_NOT_FOUND", ["successor"],
    )  # fmt: skip
    read = await identity.users.GetUser(
        user_pb2.GetUserRequest(name=ada.name), metadata=admin.metadata
    )
    assert read.state == user_pb2.User.ACTIVE
    left = await deactivate(identity, admin, ada.name, bob.name)
    assert left.state == user_pb2.User.DEACTIVATED
    listing = handover_pb2.ListHandoversRequest(filter=f'user = "{ada.name}"')
    page = await stub(identity).ListHandovers(listing, metadata=admin.metadata)
    (handover,) = page.handovers
    assert (handover.successor, handover.state) == (bob.name, Handover.RUNNING)
    assert [p.service for p in handover.parts] == taking_part()
    assert {"sales", "customer", "support", "marketing", "workspace", "identity"} == {
        p.service for p in handover.parts
    }


async def test_a_hand_over_ends_when_every_service_has_ended(identity: "Identity") -> None:
    """INVARIANT: what is shown is what services told, and one that failed makes the whole fail."""
    admin = await identity.administrator()
    ada, bob = await identity.user(), await identity.user()
    handover = await begin(identity, admin, ada.name, bob.name)

    async def own_part_ended() -> Any:
        found = await get(identity, admin, handover.name)
        (own,) = [p for p in found.parts if p.service == "identity"]
        return own.state == State.SUCCEEDED

    await eventually(own_part_ended)
    others = [name for name in taking_part() if name != "identity"]
    await tell(identity, handover.name, others[0], "RUNNING", 7, 3, 0)
    found = await get(identity, admin, handover.name)
    (part,) = [p for p in found.parts if p.service == others[0]]
    assert (part.state, part.total_count, part.moved_count) == (State.RUNNING, 7, 3)
    for name in others[:-1]:
        await tell(identity, handover.name, name, "SUCCEEDED", 7, 7, 0)
    assert (await get(identity, admin, handover.name)).state == Handover.RUNNING
    await tell(identity, handover.name, others[-1], "FAILED", 7, 6, 1)
    found = await get(identity, admin, handover.name)
    assert found.state == Handover.FAILED
    assert found.HasField("end_time")


async def test_a_team_that_somebody_led_gets_another_lead(identity: "Identity") -> None:
    """Identity's own records are handed over, too; a person's keys are not."""
    from crm.identity.v1 import api_key_pb2, team_pb2  # noqa: PLC0415

    admin = await identity.administrator()
    ada, bob = await identity.person(("identity.apiKeys.*", "OWN")), await identity.user()
    team = await identity.teams.CreateTeam(
        team_pb2.CreateTeamRequest(team={"display_name": f"T {uuid7()}", "owner": ada.name}),
        metadata=admin.metadata,
    )
    key = await identity.api_keys.CreateApiKey(
        api_key_pb2.CreateApiKeyRequest(api_key={"display_name": "k"}), metadata=ada.metadata
    )
    await deactivate(identity, admin, ada.name, bob.name)

    async def led_by_bob() -> bool:
        request = team_pb2.GetTeamRequest(name=team.name)
        found = await identity.teams.GetTeam(request, metadata=admin.metadata)
        return bool(found.owner == bob.name)

    await eventually(led_by_bob)
    request = api_key_pb2.GetApiKeyRequest(name=key.name)
    kept = await identity.api_keys.GetApiKey(request, metadata=admin.metadata)
    assert kept.owner == ada.name
    assert kept.HasField("delete_time")


async def test_a_hand_over_needs_its_right_and_two_people(identity: "Identity") -> None:
    """The right to deactivate is not the right to give records away."""
    admin = await identity.administrator()
    manager = await identity.person(("identity.users.*", "ALL"))
    ada, bob = await identity.user(), await identity.user()
    for call in (
        begin(identity, manager, ada.name, bob.name),
        deactivate(identity, manager, ada.name, bob.name),
    ):
        code, _, _ = await refusal(call)
        assert code == grpc.StatusCode.PERMISSION_DENIED
    code, reason, fields = await refusal(begin(identity, admin, ada.name, ada.name))
    assert (code, reason) == (grpc.StatusCode.INVALID_ARGUMENT, "SUCCESSOR_IS_USER")
    assert fields == ["handover.successor"]


async def test_a_team_hands_over_to_a_team_or_to_a_person(identity: "Identity") -> None:
    """Every service takes part; what makes no sense is refused, naming the field at fault."""
    from crm.identity.v1 import team_pb2  # noqa: PLC0415

    admin, ada = await identity.administrator(), await identity.user()
    east, west = [
        (
            await identity.teams.CreateTeam(
                team_pb2.CreateTeamRequest(team={"display_name": f"T {uuid7()}"}),
                metadata=admin.metadata,
            )
        ).name
        for _ in range(2)
    ]

    async def create(**fields: str) -> Any:
        request = handover_pb2.CreateHandoverRequest(handover=Handover(**fields))
        return await stub(identity).CreateHandover(request, metadata=admin.metadata)

    for successor in ({"successor_team": west}, {"successor": ada.name}):
        made = await create(former_team=east, **successor)
        assert (made.former_team, made.user, made.state) == (east, "", Handover.RUNNING)
        assert [p.service for p in made.parts] == taking_part()
    nowhere = f"teams/{uuid7()}"
    for fields, reason, at_fault in (
        ({"successor_team": west}, "REQUIRED_FIELD", "user"),
        ({"former_team": east}, "REQUIRED_FIELD", "successor"),
        ({"former_team": east, "successor_team": east}, "SUCCESSOR_IS_TEAM", "successor_team"),
        ({"former_team": east, "user": ada.name, "successor_team": west}, "INVALID_FIELD", "former_team"),
        (
            {"former_team": east, "successor": ada.name, "successor_team": west},
            "INVALID_FIELD", "successor_team",
        ),
        ({"user": ada.name, "successor_team": west}, "INVALID_FIELD", "successor_team"),
        ({"former_team": nowhere, "successor_team": west}, "REFERENCE_NOT_FOUND", "former_team"),
        ({"former_team": east, "successor_team": nowhere}, "REFERENCE_NOT_FOUND", "successor_team"),
    ):  # fmt: skip
        _, found, named = await refusal(create(**fields))
        assert (found, named) == (reason, [f"handover.{at_fault}"])
