"""One's own password over gRPC: whoever changes it must know it."""

from datetime import timedelta
from typing import TYPE_CHECKING

import grpc
import pytest

from crm.identity.v1 import session_pb2, user_pb2
from crmkit.clock import clock
from crmkit.testing.harness import details_of

if TYPE_CHECKING:
    from conftest import Identity, SignedIn

PASSWORD, NEW = "a long enough secret", "quite another good one"


def change(
    identity: "Identity", person: "SignedIn", current: str, new: str
) -> grpc.aio.UnaryUnaryCall:
    request = user_pb2.ChangePasswordRequest(current_password=current, new_password=new)
    call: grpc.aio.UnaryUnaryCall = identity.users.ChangePassword(request, metadata=person.metadata)
    return call


async def refused(call: grpc.aio.UnaryUnaryCall) -> tuple[str, list[str]]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    details = details_of(error.value)
    return details["reason"], details["fields"]


async def test_a_person_without_rights_changes_their_password(identity: "Identity") -> None:
    """INVARIANT: the old password and every other session end; this session goes on."""
    ada = await identity.person()
    other = await identity.sign_in(ada.email)
    await change(identity, ada, PASSWORD, NEW)
    await identity.refused((("authorization", f"Bearer {other.access_token}"),))
    await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=ada.metadata)
    stale = session_pb2.RefreshSessionRequest(refresh_token=other.refresh_token)
    assert (await refused(identity.sessions.RefreshSession(stale)))[0] == "INVALID_REFRESH_TOKEN"
    old = session_pb2.CreateSessionRequest(email=ada.email, password=PASSWORD)
    assert (await refused(identity.sessions.CreateSession(old)))[0] == "INVALID_CREDENTIALS"
    assert (await identity.sign_in(ada.email, NEW)).access_token


async def test_the_wrong_password_is_refused_and_counted(identity: "Identity") -> None:
    """INVARIANT: a stolen session cannot be used to guess the password."""
    ada = await identity.person()
    for _ in range(10):
        answer = await refused(change(identity, ada, "wrong", NEW))
        assert answer == ("WRONG_PASSWORD", ["current_password"])
    assert (await refused(change(identity, ada, PASSWORD, NEW)))[0] == "TOO_MANY_ATTEMPTS"
    with clock.shifted(timedelta(minutes=2)):
        await change(identity, ada, PASSWORD, NEW)


@pytest.mark.parametrize("new", ["short", "password1", "ilovejesus", "samantha2024", "12345678"])
async def test_a_weak_password_is_refused(identity: "Identity", new: str) -> None:
    """The field is named; the common ones of published leaks are refused, with digits behind too."""
    ada = await identity.person()
    answer = await refused(change(identity, ada, PASSWORD, new))
    assert answer == ("WEAK_PASSWORD", ["new_password"])


async def test_nobody_changes_a_password_without_being_signed_in(identity: "Identity") -> None:
    request = user_pb2.ChangePasswordRequest(current_password=PASSWORD, new_password=NEW)
    assert (await refused(identity.users.ChangePassword(request)))[0] == "UNAUTHENTICATED"
