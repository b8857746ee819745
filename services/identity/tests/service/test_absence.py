"""Absences over gRPC: who says that who is away, and what every service hears of it."""

from datetime import timedelta
from typing import Any

import grpc
import pytest

from crm.identity.v1 import user_pb2
from crmkit.clock import now
from crmkit.ids import uuid7
from crmkit.testing.harness import details_of

from .conftest import Identity, SignedIn

_DAY = timedelta(days=1)


async def leave(
    identity: Identity, by: SignedIn, name: str, deputy: str = "", *, start: int = 0, end: int = 7
) -> user_pb2.User:
    request = user_pb2.SetAbsenceRequest(name=name)
    if start:
        request.absence.start_time.FromDatetime(now() + start * _DAY)
    request.absence.end_time.FromDatetime(now() + end * _DAY)
    if deputy:
        request.absence.deputy = deputy
    user: user_pb2.User = await identity.users.SetAbsence(request, metadata=by.metadata)
    return user


async def test_everyone_says_when_they_are_away_and_every_service_hears_of_it(
    identity: Identity,
) -> None:
    """INVARIANT: without a permission for one's own; the event has the absence."""
    ada, ben = await identity.person(), await identity.person()
    user = await leave(identity, ada, ada.name, ben.name)
    assert user.absence.deputy == ben.name
    assert user.absence.HasField("start_time")
    request = user_pb2.ClearAbsenceRequest(name=ada.name, request_id=str(uuid7()))
    for _ in range(2):
        back = await identity.users.ClearAbsence(request, metadata=ada.metadata)
        assert not back.HasField("absence")
    events = await identity.under_test.events(ada.name, count=3)
    assert [e.routing_key for e in events] == [
        "identity.user.created", "identity.user.absence_set", "identity.user.absence_cleared",
    ]  # fmt: skip
    assert events[1].message.user.absence == user.absence
    assert not events[2].message.user.HasField("absence")


async def test_only_who_may_change_users_says_it_of_others(identity: Identity) -> None:
    """INVARIANT: nobody diverts another's notifications."""
    ada, ben, boss = (
        await identity.person(),
        await identity.person(),
        await identity.administrator(),
    )
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await leave(identity, ben, ada.name, ben.name)
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.users.ClearAbsence(
            user_pb2.ClearAbsenceRequest(name=ada.name), metadata=ben.metadata
        )
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
    assert (await leave(identity, boss, ada.name, ben.name)).absence.deputy == ben.name


async def test_deputies_who_would_lead_back_are_refused(identity: Identity) -> None:
    """INVARIANT: in that time; one after the other they may stand in for each other."""
    ada, ben, eve = [await identity.person() for _ in range(3)]
    await leave(identity, ada, ada.name, ben.name, start=2, end=4)
    await leave(identity, ben, ben.name, eve.name, start=2, end=4)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await leave(identity, eve, eve.name, ada.name, start=3, end=5)
    details = details_of(refused.value)
    assert (details["fields"], details["reason"]) == (["absence.deputy"], "DEPUTY_CIRCLE")
    await leave(identity, eve, eve.name, ada.name, start=4, end=6)


@pytest.mark.parametrize(
    ("absence", "code", "field", "reason"),
    [
        ({"end_time": {"seconds": 1}}, "INVALID_ARGUMENT", "absence.end_time", "INVALID_FIELD"),
        ({}, "INVALID_ARGUMENT", "absence.end_time", "REQUIRED_FIELD"),
        ({"end_time": {"seconds": 1 << 60}}, "INVALID_ARGUMENT", "absence.end_time", "INVALID_FIELD"),
        ({"deputy": "users/x"}, "INVALID_ARGUMENT", "absence.deputy", "INVALID_FIELD"),
        ({"deputy": f"users/{uuid7()}"}, "NOT_FOUND", "absence.deputy", "REFERENCE_NOT_FOUND"),
        ({"deputy": "self"}, "INVALID_ARGUMENT", "absence.deputy", "DEPUTY_IS_USER"),
    ],
)  # fmt: skip
async def test_what_cannot_be_is_refused_and_named(
    identity: Identity, absence: dict[str, Any], code: str, field: str, reason: str
) -> None:
    """And changes nothing."""
    ada = await identity.person()
    said = {"end_time": {"seconds": int((now() + _DAY).timestamp())}, **absence} if absence else {}
    if said.get("deputy") == "self":
        said["deputy"] = ada.name
    request = user_pb2.SetAbsenceRequest(name=ada.name, absence=user_pb2.User.Absence(**said))
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.users.SetAbsence(request, metadata=ada.metadata)
    details = details_of(refused.value)
    assert (refused.value.code().name, details["fields"], details["reason"]) == (
        code,
        [field],
        reason,
    )
    user = await identity.users.GetCurrentUser(
        user_pb2.GetCurrentUserRequest(), metadata=ada.metadata
    )
    assert not user.HasField("absence")
