"""Sessions over gRPC: signing in, refreshing, ending, and what a thief gets."""

from datetime import timedelta
from statistics import median
from time import perf_counter
from typing import TYPE_CHECKING
from uuid import UUID

import grpc
import pytest
import sqlalchemy as sa
from google.protobuf.field_mask_pb2 import FieldMask
from joserfc import jwt
from joserfc.jwk import KeySet

from crm.identity.v1 import session_pb2, user_pb2
from crmkit.clock import clock
from crmkit.statements import compile_statement
from crmkit.testing.harness import ISSUER, details_of

if TYPE_CHECKING:
    from conftest import Identity, Metadata

ADMIN_EMAIL, PASSWORD = "boss@example.com", "a long enough secret"
NEW_PASSWORD = "another good one"


async def reason_of(call: grpc.aio.UnaryUnaryCall) -> str:
    """The reason for which a call is refused."""
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await call
    reason: str = details_of(refused.value)["reason"]
    return reason


def refresh(identity: "Identity", token: str, **headers: str) -> grpc.aio.UnaryUnaryCall:
    request = session_pb2.RefreshSessionRequest(refresh_token=token)
    call: grpc.aio.UnaryUnaryCall = identity.sessions.RefreshSession(
        request, metadata=tuple(headers.items())
    )
    return call


def bearer(token: str) -> "Metadata":
    return (("authorization", f"Bearer {token}"),)


async def headers_of(call: grpc.aio.UnaryUnaryCall) -> dict[str, str]:
    await call
    return {k: str(v) for k, v in await call.initial_metadata()}


async def test_signing_in_answers_a_token_that_says_who_and_until_when(
    identity: "Identity",
) -> None:
    """A token is verified with the public key set alone."""
    session = await identity.sign_in("  Boss@Example.com ")
    keys = await identity.sessions.GetKeySet(session_pb2.GetKeySetRequest())
    jwks = {"keys": [{f.name: v for f, v in key.ListFields()} for key in keys.keys]}
    token = jwt.decode(session.access_token, KeySet.import_key_set(jwks), algorithms=["ES256"])
    assert not token.header["kid"].startswith("service-")
    claims = token.claims
    assert claims["iss"] == ISSUER
    assert claims["aud"] == "crm"
    assert claims["sub"] == session.user
    assert f"sessions/{claims['sid']}" == session.name
    assert [role.split("/")[0] for role in claims["roles"]] == ["roles"]
    assert claims["exp"] - claims["iat"] == 600
    assert session.expire_time.ToSeconds() == claims["exp"]
    assert "d" not in jwks["keys"][0]


async def test_an_access_token_is_the_person(identity: "Identity") -> None:
    """A signed-in person without any right may at least see themselves."""
    ada = await identity.person()
    current = await identity.users.GetCurrentUser(
        user_pb2.GetCurrentUserRequest(), metadata=ada.metadata
    )
    assert (current.name, current.email) == (ada.name, ada.email)
    assert not current.HasField("password")


async def test_an_unknown_address_and_a_wrong_password_get_the_same_answer(
    identity: "Identity",
) -> None:
    """INVARIANT: nobody learns who has an account, neither by the answer nor by the time."""
    ada = await identity.user()
    answers: dict[str, tuple[grpc.StatusCode, str | None]] = {}
    seconds: dict[str, list[float]] = {ada.email: [], "nobody@example.com": []}
    for _ in range(8):
        for email, times in seconds.items():
            started = perf_counter()
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await identity.sign_in(email, "wrong")
            times.append(perf_counter() - started)
            answers[email] = (refused.value.code(), refused.value.details())
            assert details_of(refused.value)["reason"] == "INVALID_CREDENTIALS"
    assert len(set(answers.values())) == 1
    known, unknown = (median(times) for times in seconds.values())
    assert abs(known - unknown) < max(0.010, known * 0.5)


@pytest.mark.parametrize("known", [True, False])
async def test_after_ten_wrong_passwords_the_account_waits(
    identity: "Identity", *, known: bool
) -> None:
    """INVARIANT: guessing is slow, on every replica, and shows nothing of who has an account."""
    email = (await identity.user()).email if known else "stranger@example.com"
    for _ in range(10):
        with pytest.raises(grpc.aio.AioRpcError) as wrong:
            await identity.sign_in(email, "wrong")
        assert wrong.value.code() == grpc.StatusCode.UNAUTHENTICATED
    with pytest.raises(grpc.aio.AioRpcError) as locked:
        await identity.sign_in(email)
    assert locked.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert details_of(locked.value)["reason"] == "TOO_MANY_ATTEMPTS"
    assert b"RetryInfo" in dict(locked.value.trailing_metadata())["grpc-status-details-bin"]
    with clock.shifted(timedelta(minutes=2)):
        if known:
            assert (await identity.sign_in(email)).access_token
        else:
            with pytest.raises(grpc.aio.AioRpcError) as wrong:
                await identity.sign_in(email)
            assert wrong.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_a_user_without_a_password_cannot_sign_in(identity: "Identity") -> None:
    """No password is not the empty password."""
    admin = await identity.administrator()
    user = user_pb2.User(email="silent@example.com", display_name="S")
    await identity.users.CreateUser(user_pb2.CreateUserRequest(user=user), metadata=admin.metadata)
    for password in ("x", "None", "password123"):
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await identity.sign_in("silent@example.com", password)
        assert details_of(refused.value)["reason"] == "INVALID_CREDENTIALS"


async def test_refreshing_rotates_the_token(identity: "Identity") -> None:
    """Each refresh token works once and gets the next."""
    ada = await identity.person()
    second = await refresh(identity, ada.session.refresh_token)
    third = await refresh(identity, second.refresh_token)
    assert ada.session.name == second.name == third.name
    tokens = {ada.session.refresh_token, second.refresh_token, third.refresh_token}
    assert len(tokens) == 3
    assert all(tokens)


async def test_a_stolen_refresh_token_ends_the_session(identity: "Identity") -> None:
    """INVARIANT: using a replaced token ends the session for thief and owner, for good."""
    ada = await identity.person()
    second = await refresh(identity, ada.session.refresh_token)
    assert await reason_of(refresh(identity, ada.session.refresh_token)) == "INVALID_REFRESH_TOKEN"
    assert await reason_of(refresh(identity, second.refresh_token)) == "INVALID_REFRESH_TOKEN"
    await identity.refused(ada.metadata)
    (event,) = await identity.under_test.events(ada.session.name)
    assert event.routing_key == "identity.session.revoked"
    assert event.message.user == ada.name


async def test_a_refresh_token_lasts_thirty_days(identity: "Identity") -> None:
    """A session that nobody refreshes ends by itself."""
    ada, bob = await identity.person(), await identity.person()
    with clock.shifted(timedelta(days=29)):
        assert (await refresh(identity, ada.session.refresh_token)).access_token
    with clock.shifted(timedelta(days=30, seconds=1)):
        reason = await reason_of(refresh(identity, bob.session.refresh_token))
    assert reason == "INVALID_REFRESH_TOKEN"


async def test_signing_out_ends_the_session_and_no_other(identity: "Identity") -> None:
    """INVARIANT: a signed-out session's tokens are refused within seconds."""
    ada = await identity.person()
    other = await identity.sign_in(ada.email)
    await identity.sessions.EndCurrentSession(
        session_pb2.EndCurrentSessionRequest(), metadata=ada.metadata
    )
    await identity.refused(ada.metadata)
    assert await reason_of(refresh(identity, ada.session.refresh_token)) == "INVALID_REFRESH_TOKEN"
    assert (await refresh(identity, other.refresh_token)).access_token


async def test_a_new_password_ends_the_other_sessions(identity: "Identity") -> None:
    """INVARIANT: whoever knew the old password is out."""
    ada = await identity.person(("identity.users.update", "OWN"))
    other = await identity.sign_in(ada.email)
    await identity.users.UpdateUser(
        user_pb2.UpdateUserRequest(
            user=user_pb2.User(name=ada.name, password=NEW_PASSWORD),
            update_mask=FieldMask(paths=["password"]),
        ),
        metadata=ada.metadata,
    )
    assert await reason_of(refresh(identity, other.refresh_token)) == "INVALID_REFRESH_TOKEN"
    assert (await refresh(identity, ada.session.refresh_token)).access_token
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.sign_in(ada.email)
    assert (await identity.sign_in(ada.email, NEW_PASSWORD)).access_token


async def test_deactivating_ends_everything(identity: "Identity") -> None:
    """INVARIANT: a deactivated person is out within seconds, and stays out."""
    ada, admin = await identity.person(), await identity.administrator()
    await identity.users.DeactivateUser(
        user_pb2.DeactivateUserRequest(name=ada.name), metadata=admin.metadata
    )
    await identity.refused(ada.metadata)
    assert await reason_of(refresh(identity, ada.session.refresh_token)) == "INVALID_REFRESH_TOKEN"
    with pytest.raises(grpc.aio.AioRpcError):
        await identity.sign_in(ada.email)
    await identity.users.ActivateUser(
        user_pb2.ActivateUserRequest(name=ada.name), metadata=admin.metadata
    )
    assert (await identity.sign_in(ada.email)).access_token
    assert UUID(ada.session.name.split("/")[1]) in identity.rights.revoked


async def test_a_browser_gets_its_refresh_token_as_a_cookie(identity: "Identity") -> None:
    """INVARIANT: scripts never see the token; other sites cannot use it."""
    ada = await identity.user()
    request = session_pb2.CreateSessionRequest(
        email=ada.email, password="a long enough secret", use_cookie=True
    )
    call = identity.sessions.CreateSession(request)
    assert (await call).refresh_token == ""
    cookie, *attributes = (await headers_of(call))["set-cookie"].split("; ")
    assert attributes == [
        "Path=/v1/sessions:refresh", "HttpOnly", "SameSite=Strict", "Max-Age=2592000",
    ]  # fmt: skip
    for _ in range(2):  # a refused origin does not use the token up
        evil = refresh(identity, "", cookie=cookie, origin="https://evil.example")
        assert await reason_of(evil) == "ORIGIN_NOT_ALLOWED"
    good = refresh(identity, "", cookie=f"theme=dark; {cookie}", origin=ISSUER)
    assert (await good).refresh_token == ""
    assert (await headers_of(good))["set-cookie"].split("; ")[0] != cookie
    assert await reason_of(refresh(identity, "")) == "INVALID_REFRESH_TOKEN"


async def test_no_secret_is_stored_or_published(identity: "Identity") -> None:
    """INVARIANT: neither tables nor events hold a password or a token that works."""
    ada = await identity.person()
    secrets = ["a long enough secret", ada.session.refresh_token, ada.session.access_token]
    for table in ("users", "sessions", "refresh_tokens", "event_log", "idempotency"):
        rows = await identity.under_test.database.fetch_all(
            compile_statement(sa.text(f'SELECT t::text FROM "{table}" t'))
        )
        for (row,) in rows:
            assert not any(s in row or s.encode().hex() in row for s in secrets)


async def test_a_person_sees_where_they_are_signed_in(identity: "Identity") -> None:
    """INVARIANT: the list shows one's own open sessions, newest first, and never a token."""
    ada, bob = await identity.person(), await identity.person()
    request = session_pb2.CreateSessionRequest(email=ada.email, password=PASSWORD)
    phone = await identity.sessions.CreateSession(
        request, metadata=(("x-crm-client-address", "203.0.113.9"),)
    )
    with clock.shifted(timedelta(minutes=9)):
        await refresh(identity, phone.refresh_token, **{"x-crm-client-address": "203.0.113.10"})
    found = await identity.sessions.ListSessions(
        session_pb2.ListSessionsRequest(), metadata=ada.metadata
    )
    assert [s.name for s in found.sessions] == [phone.name, ada.session.name]
    newest, oldest = found.sessions
    assert (newest.client_address, newest.current) == ("203.0.113.10", False)
    assert newest.last_used_time.ToSeconds() - newest.create_time.ToSeconds() >= 9 * 60
    assert (oldest.client_address, oldest.current) == ("", True)
    assert "grpc" in newest.user_agent
    assert not any(s.access_token or s.refresh_token for s in found.sessions)
    first = await identity.sessions.ListSessions(
        session_pb2.ListSessionsRequest(page_size=1), metadata=ada.metadata
    )
    second = session_pb2.ListSessionsRequest(page_size=1, page_token=first.next_page_token)
    rest = await identity.sessions.ListSessions(second, metadata=ada.metadata)
    assert [s.name for s in rest.sessions] == [ada.session.name]
    assert await reason_of(identity.sessions.ListSessions(second, metadata=bob.metadata)) == (
        "INVALID_PAGE_TOKEN"
    )


async def test_one_session_can_be_ended_from_another(identity: "Identity") -> None:
    """INVARIANT: only one's own: somebody else's session cannot even be told from none."""
    ada, bob = await identity.person(), await identity.person()
    lost = await identity.sign_in(ada.email)
    request = session_pb2.EndSessionRequest(name=lost.name)
    foreign = identity.sessions.EndSession(request, metadata=bob.metadata)
    assert await reason_of(foreign) == "RECORD_NOT_FOUND"
    await identity.sessions.EndSession(request, metadata=ada.metadata)
    await identity.refused(bearer(lost.access_token))
    assert await reason_of(refresh(identity, lost.refresh_token)) == "INVALID_REFRESH_TOKEN"
    again = identity.sessions.EndSession(request, metadata=ada.metadata)
    assert await reason_of(again) == "RECORD_NOT_FOUND"
    assert (await refresh(identity, ada.session.refresh_token)).access_token


@pytest.mark.parametrize("keep_current", [True, False])
async def test_signing_out_everywhere(identity: "Identity", *, keep_current: bool) -> None:
    """Every session ends, or every one but that in which it is said."""
    ada, bob = await identity.person(), await identity.person()
    other = await identity.sign_in(ada.email)
    await identity.sessions.EndAllSessions(
        session_pb2.EndAllSessionsRequest(keep_current=keep_current), metadata=ada.metadata
    )
    await identity.refused(bearer(other.access_token))
    if keep_current:
        assert (await refresh(identity, ada.session.refresh_token)).access_token
    else:
        await identity.refused(ada.metadata)
    assert (await refresh(identity, bob.session.refresh_token)).access_token


async def test_an_administrator_sees_and_ends_a_users_sessions(identity: "Identity") -> None:
    """INVARIANT: nobody else does."""
    ada, admin = await identity.person(), await identity.administrator()
    calls = [
        (identity.sessions.ListUserSessions, session_pb2.ListUserSessionsRequest(parent=ada.name)),
        (identity.sessions.EndUserSessions, session_pb2.EndUserSessionsRequest(name=ada.name)),
    ]
    for method, request in calls:
        assert await reason_of(method(request, metadata=ada.metadata)) == "PERMISSION_DENIED"
    found = await calls[0][0](calls[0][1], metadata=admin.metadata)
    assert [s.name for s in found.sessions] == [ada.session.name]
    await calls[1][0](calls[1][1], metadata=admin.metadata)
    await identity.refused(ada.metadata)
    missing = session_pb2.EndUserSessionsRequest(name=f"users/{UUID(int=7)}")
    call = identity.sessions.EndUserSessions(missing, metadata=admin.metadata)
    assert await reason_of(call) == "RECORD_NOT_FOUND"


async def test_deleting_a_user_ends_everything(identity: "Identity") -> None:
    """INVARIANT: a deleted person is out within seconds."""
    ada, admin = await identity.person(), await identity.administrator()
    await identity.users.DeleteUser(
        user_pb2.DeleteUserRequest(name=ada.name), metadata=admin.metadata
    )
    await identity.refused(ada.metadata)
    assert await reason_of(refresh(identity, ada.session.refresh_token)) == "INVALID_REFRESH_TOKEN"


async def test_one_password_on_many_accounts_is_stopped_by_the_address(
    identity: "Identity",
) -> None:
    """INVARIANT: whoever sprays a password over a hundred accounts is stopped, others are not."""
    here, elsewhere = (("x-crm-client-address", f"203.0.113.{n}") for n in (50, 51))
    reasons = []
    for number in range(60):
        request = session_pb2.CreateSessionRequest(email=f"u{number}@example.org", password="wrong")
        reasons.append(await reason_of(identity.sessions.CreateSession(request, metadata=(here,))))
    assert reasons == ["INVALID_CREDENTIALS"] * 50 + ["TOO_MANY_ATTEMPTS"] * 10
    request = session_pb2.CreateSessionRequest(email=ADMIN_EMAIL, password=PASSWORD)
    right = identity.sessions.CreateSession(request, metadata=(here,))
    assert await reason_of(right) == "TOO_MANY_ATTEMPTS"
    assert (await identity.sessions.CreateSession(request, metadata=(elsewhere,))).access_token
