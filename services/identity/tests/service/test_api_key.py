"""API keys over gRPC: made once, exchanged often, revoked for good."""

from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import uuid4

import grpc
import pytest

from crm.identity.v1 import api_key_pb2, session_pb2, user_pb2
from crmkit.clock import clock, now
from crmkit.testing.harness import details_of

if TYPE_CHECKING:
    from conftest import Identity, Metadata, SignedIn

ApiKey = api_key_pb2.ApiKey
OWN_KEYS = ("identity.apiKeys.*", "OWN")


async def make(identity: "Identity", person: "SignedIn", **fields: object) -> ApiKey:
    request = api_key_pb2.CreateApiKeyRequest(api_key=ApiKey(display_name="CI", **fields))
    made: ApiKey = await identity.api_keys.CreateApiKey(request, metadata=person.metadata)
    return made


async def exchange(identity: "Identity", key: str) -> "Metadata":
    answer = await identity.api_keys.ExchangeApiKey(api_key_pb2.ExchangeApiKeyRequest(key=key))
    return (("authorization", f"Bearer {answer.access_token}"),)


async def reason_of(call: grpc.aio.UnaryUnaryCall) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    reason: str = details_of(refused.value)["reason"]
    return reason


async def test_a_key_is_shown_once_and_acts_as_its_user(identity: "Identity") -> None:
    """INVARIANT: the secret is in the first answer only."""
    ada = await identity.person(OWN_KEYS)
    request = api_key_pb2.CreateApiKeyRequest(
        api_key=ApiKey(display_name="CI"), request_id=str(uuid4())
    )
    made = await identity.api_keys.CreateApiKey(request, metadata=ada.metadata)
    mark, secret = made.key.removeprefix("crm_").split("_", 1)
    assert made.prefix == f"crm_{mark}"
    assert (len(mark), len(secret) >= 32, made.owner) == (12, True, ada.name)
    repeated = await identity.api_keys.CreateApiKey(request, metadata=ada.metadata)
    read = await identity.api_keys.GetApiKey(
        api_key_pb2.GetApiKeyRequest(name=made.name), metadata=ada.metadata
    )
    assert (repeated.name, repeated.key, read.key) == (made.name, "", "")
    current = await identity.users.GetCurrentUser(
        user_pb2.GetCurrentUserRequest(), metadata=await exchange(identity, made.key)
    )
    assert current.name == ada.name
    (event,) = await identity.under_test.events(made.name)
    assert secret.encode() not in event.wire.payload


async def test_a_deleted_key_and_its_tokens_stop_working(identity: "Identity") -> None:
    """INVARIANT: deleting a key revokes what was made from it, and no session."""
    ada = await identity.person(OWN_KEYS)
    made = await make(identity, ada)
    token = await exchange(identity, made.key)
    await identity.api_keys.DeleteApiKey(
        api_key_pb2.DeleteApiKeyRequest(name=made.name), metadata=ada.metadata
    )
    await identity.refused(token)
    again = api_key_pb2.ExchangeApiKeyRequest(key=made.key)
    assert await reason_of(identity.api_keys.ExchangeApiKey(again)) == "INVALID_API_KEY"
    await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=ada.metadata)


async def test_deactivating_a_user_deletes_their_keys(identity: "Identity") -> None:
    """INVARIANT: keys do not outlive their user's access, not even when it comes back."""
    ada, admin = await identity.person(OWN_KEYS), await identity.administrator()
    clerk = await identity.person(("identity.users.*", "OWN"))
    made = await make(identity, ada)
    await identity.users.DeactivateUser(
        user_pb2.DeactivateUserRequest(name=ada.name), metadata=clerk.metadata
    )
    await identity.users.ActivateUser(
        user_pb2.ActivateUserRequest(name=ada.name), metadata=admin.metadata
    )
    exchanged = api_key_pb2.ExchangeApiKeyRequest(key=made.key)
    assert await reason_of(identity.api_keys.ExchangeApiKey(exchanged)) == "INVALID_API_KEY"


async def test_a_key_expires(identity: "Identity") -> None:
    """Neither the key nor a token made from it outlives the expiry."""
    ada = await identity.person(OWN_KEYS)
    expires = now() + timedelta(minutes=3)
    made = await make(identity, ada, expire_time=expires)
    answer = await identity.api_keys.ExchangeApiKey(api_key_pb2.ExchangeApiKeyRequest(key=made.key))
    assert answer.expire_time.ToSeconds() == int(expires.timestamp())
    with clock.shifted(timedelta(minutes=4)):
        exchanged = api_key_pb2.ExchangeApiKeyRequest(key=made.key)
        assert await reason_of(identity.api_keys.ExchangeApiKey(exchanged)) == "INVALID_API_KEY"
    past = ApiKey(display_name="late", expire_time=now() - timedelta(minutes=1))
    late = identity.api_keys.CreateApiKey(
        api_key_pb2.CreateApiKeyRequest(api_key=past), metadata=ada.metadata
    )
    assert await reason_of(late) == "INVALID_FIELD"


@pytest.mark.parametrize("key", ["", "crm_", "crm_aaaaaaaaaaaa_" + "b" * 43, "x" * 200, "crm_\x00"])
async def test_a_wrong_key_is_refused(identity: "Identity", key: str) -> None:
    """Nothing but a key works as one."""
    call = identity.api_keys.ExchangeApiKey(api_key_pb2.ExchangeApiKeyRequest(key=key))
    assert await reason_of(call) in {"INVALID_API_KEY", "REQUIRED_FIELD", "INVALID_FIELD"}


async def test_keys_are_made_and_seen_by_their_user_only(identity: "Identity") -> None:
    """INVARIANT: nobody makes a key that acts as somebody else."""
    ada, bob = await identity.person(OWN_KEYS), await identity.person(OWN_KEYS)
    admin = await identity.administrator()
    made = await make(identity, ada)
    for person in (bob, admin):
        foreign = ApiKey(display_name="theirs", owner=ada.name)
        call = identity.api_keys.CreateApiKey(
            api_key_pb2.CreateApiKeyRequest(api_key=foreign), metadata=person.metadata
        )
        assert await reason_of(call) in {"OWNER_MUST_BE_CALLER", "OWNER_OUT_OF_SCOPE"}
    hidden = identity.api_keys.GetApiKey(
        api_key_pb2.GetApiKeyRequest(name=made.name), metadata=bob.metadata
    )
    assert await reason_of(hidden) == "RECORD_NOT_FOUND"
    await identity.api_keys.GetApiKey(
        api_key_pb2.GetApiKeyRequest(name=made.name), metadata=admin.metadata
    )


async def test_an_api_key_is_no_session_to_sign_out_of(identity: "Identity") -> None:
    """Signing out with a key's token says what to do instead and leaves the key working."""
    ada = await identity.person(OWN_KEYS)
    made = await make(identity, ada)
    call = identity.sessions.EndCurrentSession(
        session_pb2.EndCurrentSessionRequest(), metadata=await exchange(identity, made.key)
    )
    assert await reason_of(call) == "NOT_A_SESSION"
    assert await exchange(identity, made.key)
