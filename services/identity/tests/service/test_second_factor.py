"""The second factor over gRPC: what a stolen password is not enough for."""

from collections.abc import Iterator
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import grpc
import pyotp
import pytest
import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crm.identity.v1 import second_factor_pb2 as pb
from crm.identity.v1 import second_factor_pb2_grpc, session_pb2, user_pb2
from crmkit.access import ANONYMOUS
from crmkit.call import new_call
from crmkit.clock import clock, now
from crmkit.statements import compile_statement
from crmkit.testing.harness import details_of
from identity.storage.signing_key import all_keys

if TYPE_CHECKING:
    from conftest import Identity, SignedIn

PASSWORD = "a long enough secret"


@pytest.fixture(autouse=True)
def fresh_half_minute() -> Iterator[None]:
    """Tests begin with a half minute: none ends while they run."""
    with clock.shifted(timedelta(seconds=31 - now().timestamp() % 30)):
        yield


def factors(identity: "Identity") -> Any:
    channel: Any = identity.under_test.channel
    return second_factor_pb2_grpc.SecondFactorServiceStub(channel)


async def refused(call: grpc.aio.UnaryUnaryCall) -> dict[str, Any]:
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await call
    return details_of(error.value)


async def enroll(identity: "Identity", person: "SignedIn") -> pyotp.TOTP:
    request = pb.EnrollSecondFactorRequest(password=PASSWORD)
    answer = await factors(identity).EnrollSecondFactor(request, metadata=person.metadata)
    assert answer.provisioning_uri == pyotp.parse_uri(answer.provisioning_uri).provisioning_uri()
    return pyotp.TOTP(answer.secret)


def code_of(app: pyotp.TOTP, steps: int = 0) -> str:
    return app.at(now() + steps * timedelta(seconds=30))


async def turned_on(identity: "Identity", person: "SignedIn") -> tuple[pyotp.TOTP, list[str]]:
    """The person's app and recovery codes; the code of the half minute before is used."""
    app = await enroll(identity, person)
    request = pb.ConfirmSecondFactorRequest(code=code_of(app, -1))
    answer = await factors(identity).ConfirmSecondFactor(request, metadata=person.metadata)
    return app, list(answer.codes)


def sign_in(identity: "Identity", email: str, code: str = "") -> grpc.aio.UnaryUnaryCall:
    request = session_pb2.CreateSessionRequest(email=email, password=PASSWORD, code=code)
    call: grpc.aio.UnaryUnaryCall = identity.sessions.CreateSession(request)
    return call


async def challenge_of(identity: "Identity", email: str) -> str:
    details = await refused(sign_in(identity, email))
    assert details["reason"] == "SECOND_FACTOR_REQUIRED"
    challenge: str = details["metadata"]["challenge"]
    return challenge


def complete(identity: "Identity", challenge: str, code: str) -> grpc.aio.UnaryUnaryCall:
    request = session_pb2.CompleteSignInRequest(challenge=challenge, code=code)
    call: grpc.aio.UnaryUnaryCall = identity.sessions.CompleteSignIn(request)
    return call


async def test_signing_in_takes_two_steps(identity: "Identity") -> None:
    """INVARIANT: the password alone opens nothing; a challenge works once."""
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    challenge = await challenge_of(identity, ada.email)
    assert (await refused(complete(identity, challenge, "000000")))["reason"] == "WRONG_CODE"
    session = await complete(identity, challenge, code_of(app))
    assert session.user == ada.name
    with clock.shifted(timedelta(minutes=1)):
        again = complete(identity, challenge, code_of(app))
        assert (await refused(again))["reason"] == "INVALID_CHALLENGE"


async def test_a_code_may_come_with_the_password(identity: "Identity") -> None:
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    code = code_of(app)
    assert (await sign_in(identity, ada.email, f"{code[:3]} {code[3:]}")).access_token


async def test_a_code_works_once(identity: "Identity") -> None:
    """INVARIANT: whoever looks over a shoulder is too late; nor does an older code work."""
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    used, older = code_of(app), code_of(app, -1)
    await sign_in(identity, ada.email, used)
    for code in (used, older):
        assert (await refused(sign_in(identity, ada.email, code)))["reason"] == "WRONG_CODE"
    with clock.shifted(timedelta(seconds=30)):
        assert (await sign_in(identity, ada.email, code_of(app))).access_token


async def test_a_code_of_another_hour_does_not_work(identity: "Identity") -> None:
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    for steps in (-2, 2, 120):
        call = sign_in(identity, ada.email, code_of(app, steps))
        assert (await refused(call))["reason"] == "WRONG_CODE"


async def test_a_challenge_ends_by_itself_and_with_the_password(identity: "Identity") -> None:
    """INVARIANT: what stands for the password does not outlive it."""
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    challenge = await challenge_of(identity, ada.email)
    with clock.shifted(timedelta(minutes=6)):
        late = complete(identity, challenge, code_of(app))
        assert (await refused(late))["reason"] == "INVALID_CHALLENGE"
    challenge = await challenge_of(identity, ada.email)
    change = user_pb2.ChangePasswordRequest(
        current_password=PASSWORD, new_password="quite another one"
    )
    await identity.users.ChangePassword(change, metadata=ada.metadata)
    stale = complete(identity, challenge, code_of(app))
    assert (await refused(stale))["reason"] == "INVALID_CHALLENGE"


async def test_a_challenge_is_no_token(identity: "Identity") -> None:
    """INVARIANT: it is neither an access token nor a refresh token."""
    ada = await identity.person()
    await turned_on(identity, ada)
    challenge = await challenge_of(identity, ada.email)
    metadata = (("authorization", f"Bearer {challenge}"),)
    me = identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
    assert (await refused(me))["reason"] == "INVALID_TOKEN"
    refresh = session_pb2.RefreshSessionRequest(refresh_token=challenge)
    call = identity.sessions.RefreshSession(refresh)
    assert (await refused(call))["reason"] == "INVALID_REFRESH_TOKEN"


async def test_wrong_codes_make_the_account_wait(identity: "Identity") -> None:
    """INVARIANT: a million codes are not guessed, however often the challenge is renewed."""
    ada = await identity.person()
    app, _ = await turned_on(identity, ada)
    for _ in range(10):
        challenge = await challenge_of(identity, ada.email)
        assert (await refused(complete(identity, challenge, "123456")))["reason"] == "WRONG_CODE"
    call = complete(identity, challenge, code_of(app))
    assert (await refused(call))["reason"] == "TOO_MANY_ATTEMPTS"
    assert (await refused(sign_in(identity, ada.email)))["reason"] == "TOO_MANY_ATTEMPTS"


async def test_a_recovery_code_works_once(identity: "Identity") -> None:
    """INVARIANT: ten codes, each used up; new ones end the former."""
    ada = await identity.person()
    _, codes = await turned_on(identity, ada)
    assert len(set(codes)) == 10
    await sign_in(identity, ada.email, codes[0].upper())
    assert (await refused(sign_in(identity, ada.email, codes[0])))["reason"] == "WRONG_CODE"
    state = await factors(identity).GetSecondFactor(
        pb.GetSecondFactorRequest(), metadata=ada.metadata
    )
    assert (state.enabled, state.recovery_code_count) == (True, 9)
    fresh = await factors(identity).ReplaceRecoveryCodes(
        pb.ReplaceRecoveryCodesRequest(password=PASSWORD), metadata=ada.metadata
    )
    assert (await refused(sign_in(identity, ada.email, codes[1])))["reason"] == "WRONG_CODE"
    assert (await sign_in(identity, ada.email, fresh.codes[1])).access_token


async def test_nothing_is_on_before_a_first_code(identity: "Identity") -> None:
    """Nobody locks themselves out with an app that does not work."""
    ada = await identity.person()
    service = factors(identity)
    wrong = pb.EnrollSecondFactorRequest(password="wrong")
    details = await refused(service.EnrollSecondFactor(wrong, metadata=ada.metadata))
    assert (details["reason"], details["fields"]) == ("WRONG_PASSWORD", ["password"])
    early = pb.ConfirmSecondFactorRequest(code="123456")
    call = service.ConfirmSecondFactor(early, metadata=ada.metadata)
    assert (await refused(call))["reason"] == "NOT_ENROLLED"
    first, second = await enroll(identity, ada), await enroll(identity, ada)
    assert (await sign_in(identity, ada.email)).access_token
    stale = pb.ConfirmSecondFactorRequest(code=code_of(first))
    details = await refused(service.ConfirmSecondFactor(stale, metadata=ada.metadata))
    assert (details["reason"], details["fields"]) == ("WRONG_CODE", ["code"])
    good = pb.ConfirmSecondFactorRequest(code=code_of(second))
    await service.ConfirmSecondFactor(good, metadata=ada.metadata)
    again = pb.EnrollSecondFactorRequest(password=PASSWORD)
    call = service.EnrollSecondFactor(again, metadata=ada.metadata)
    assert (await refused(call))["reason"] == "SECOND_FACTOR_ON"


async def test_turning_it_off_needs_the_password(identity: "Identity") -> None:
    ada = await identity.person()
    await turned_on(identity, ada)
    service = factors(identity)
    wrong = pb.DisableSecondFactorRequest(password="wrong")
    call = service.DisableSecondFactor(wrong, metadata=ada.metadata)
    assert (await refused(call))["reason"] == "WRONG_PASSWORD"
    off = pb.DisableSecondFactorRequest(password=PASSWORD)
    await service.DisableSecondFactor(off, metadata=ada.metadata)
    assert (await sign_in(identity, ada.email)).access_token
    call = service.DisableSecondFactor(off, metadata=ada.metadata)
    assert (await refused(call))["reason"] == "SECOND_FACTOR_OFF"


async def test_an_administrator_resets_a_lost_second_factor(identity: "Identity") -> None:
    """INVARIANT: only who has every right of the person: otherwise it were a way to become them."""
    admin = await identity.administrator()
    ada = await identity.person(("sales.*", "ALL"))
    clerk = await identity.person(("identity.users.*", "ALL"))
    await turned_on(identity, ada)
    request = pb.ResetSecondFactorRequest(name=ada.name)
    call = factors(identity).ResetSecondFactor(request, metadata=clerk.metadata)
    details = await refused(call)
    assert (details["reason"], details["fields"]) == ("GRANT_NOT_HELD", ["user.second_factor"])
    call = factors(identity).ResetSecondFactor(request, metadata=ada.metadata)
    assert (await refused(call))["reason"] == "PERMISSION_DENIED"
    user = await factors(identity).ResetSecondFactor(request, metadata=admin.metadata)
    assert not user.second_factor
    assert (await sign_in(identity, ada.email)).access_token
    call = factors(identity).ResetSecondFactor(request, metadata=admin.metadata)
    assert (await refused(call))["reason"] == "SECOND_FACTOR_OFF"


async def test_the_users_record_tells_and_the_database_does_not(identity: "Identity") -> None:
    """INVARIANT: neither the secret, nor a code, nor the keys that sign tokens lie in clear."""
    ada = await identity.person()
    app, codes = await turned_on(identity, ada)
    events = await identity.under_test.events(ada.name, count=2)
    assert list(events[-1].message.changed_fields) == ["second_factor"]
    assert events[-1].message.user.second_factor
    secrets = [app.secret, app.byte_secret().hex(), *codes, '"d":', '"d" :']
    for table in ("users", "second_factors", "recovery_codes", "event_log", "signing_keys"):
        rows = await identity.under_test.database.fetch_all(
            compile_statement(sa.text(f'SELECT t::text FROM "{table}" t'))
        )
        assert rows
        for (row,) in rows:
            assert not any(s in row or s.encode().hex() in row for s in secrets)


async def test_keys_from_before_are_sealed_at_the_next_start(identity: "Identity") -> None:
    """An installation from before keys were sealed goes on with the same keys."""
    running = identity.under_test.running
    (key,) = await all_keys(running.database, new_call(running.home, ANONYMOUS))
    clear = {"clear": Jsonb(key.pair.as_dict(private=True))}
    update = sa.text("UPDATE signing_keys SET private_jwk = :clear")
    await running.database.execute(compile_statement(update), clear)
    await running._first_start()
    rows = await running.database.fetch_all(
        compile_statement(sa.text("SELECT private_jwk FROM signing_keys"))
    )
    assert [set(row[0]) for row in rows] == [{"kid", "sealed"}]
    (sealed,) = await all_keys(running.database, new_call(running.home, ANONYMOUS))
    assert sealed.pair.as_dict(private=True) == key.pair.as_dict(private=True)
