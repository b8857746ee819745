"""A new signing key over gRPC, with another service verifying: nobody notices."""

from datetime import timedelta
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import grpc
import pytest
from joserfc import jws

from crm.identity.v1 import session_pb2, signing_key_pb2_grpc, user_pb2
from crm.identity.v1 import signing_key_pb2 as pb
from crmkit.access import service_principal
from crmkit.call import new_call
from crmkit.clock import clock
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually
from identity.usecases.signing_keys import retire, rotate_by_age

if TYPE_CHECKING:
    from conftest import Identity

# Verifiers go by the real clock and forgive a minute: a key signs sooner here than it would.
SOON, LATER, A_WHILE = timedelta(seconds=20), timedelta(seconds=21), timedelta(minutes=14)


def keys(identity: "Identity") -> Any:
    channel: Any = identity.under_test.channel
    return signing_key_pb2_grpc.SigningKeyServiceStub(channel)


def kid_of(session: session_pb2.Session) -> str:
    return str(jws.extract_compact(session.access_token.encode()).headers()["kid"])


async def published(identity: "Identity") -> list[str]:
    found = await identity.sessions.GetKeySet(session_pb2.GetKeySetRequest())
    return [key.kid for key in found.keys]


async def works(identity: "Identity", session: session_pb2.Session) -> bool:
    metadata = (("authorization", f"Bearer {session.access_token}"),)
    try:
        await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
    except grpc.aio.AioRpcError:
        return False
    return True


async def known_everywhere(identity: "Identity", kids: list[str]) -> None:
    """Waits until the service's own verifier, fed by events like every other, has these keys."""
    await eventually(lambda: set(identity.rights.keys) == set(kids))


async def run_job(identity: "Identity", job: Any, version: int) -> None:
    home = identity.under_test.running.home
    async with home.database.transaction() as tx:
        await job(new_call(home, service_principal("identity"), tx), {"version": version})


async def test_tokens_of_before_during_and_after_a_rotation_all_work(
    identity: "Identity", monkeypatch: pytest.MonkeyPatch
) -> None:
    """INVARIANT: no token is refused because of a rotation, before it has expired by itself."""
    monkeypatch.setattr("identity.usecases.signing_keys.PUBLISHED_BEFORE_USE", SOON)
    admin = await identity.administrator()
    (old,) = await published(identity)
    before = await identity.sign_in(admin.email)
    request = pb.RotateSigningKeyRequest(request_id=str(uuid4()))
    made = await keys(identity).RotateSigningKey(request, metadata=admin.metadata)
    assert await keys(identity).RotateSigningKey(request, metadata=admin.metadata) == made
    new = made.name.removeprefix("signingKeys/")
    assert await published(identity) == [old, new]
    during = await identity.sign_in(admin.email)
    assert kid_of(before) == kid_of(during) == old
    second = pb.RotateSigningKeyRequest()
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await keys(identity).RotateSigningKey(second, metadata=admin.metadata)
    assert details_of(refused.value)["reason"] == "ROTATION_IN_PROGRESS"
    await known_everywhere(identity, [old, new])
    with clock.shifted(LATER):
        after = await identity.sign_in(admin.email)
        assert kid_of(after) == new
        for session in (before, during, after):
            assert await works(identity, session)
    with clock.shifted(A_WHILE):
        await run_job(identity, retire, 2)
        await run_job(identity, retire, 2)  # a repeat changes nothing
        assert await published(identity) == [new]
        await known_everywhere(identity, [new])
        assert kid_of(await identity.sign_in(admin.email)) == new
        assert await works(identity, after)
        assert not await works(identity, before)


async def test_a_key_is_replaced_by_age_once(identity: "Identity") -> None:
    """INVARIANT: the job of a key that is not the newest any more does nothing."""
    listed = await keys(identity).ListSigningKeys(
        pb.ListSigningKeysRequest(), metadata=(await identity.administrator()).metadata
    )
    count = len(listed.signing_keys)
    with clock.shifted(A_WHILE):
        for _ in range(2):
            await run_job(identity, rotate_by_age, 2)
        assert len(await published(identity)) == count + 1


async def test_only_who_may_replaces_the_key(identity: "Identity") -> None:
    ada = await identity.person()
    call = keys(identity).RotateSigningKey(pb.RotateSigningKeyRequest(), metadata=ada.metadata)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    assert refused.value.code() == grpc.StatusCode.PERMISSION_DENIED
