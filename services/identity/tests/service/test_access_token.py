"""Access tokens as attackers make them: every one is refused, by the service itself."""

import base64
import json
from collections.abc import Callable
from time import time
from typing import TYPE_CHECKING, Any

import grpc
import pytest
from joserfc import jws, jwt
from joserfc.jwk import ECKey, OctKey

from crm.identity.v1 import session_pb2, user_pb2
from crmkit.access import ANONYMOUS
from crmkit.call import new_call
from crmkit.testing.harness import ISSUER, details_of
from identity.storage.signing_key import all_keys

if TYPE_CHECKING:
    from conftest import Identity

Claims = dict[str, Any]
STRANGER = ECKey.generate_key("P-256", {"kid": "stranger"})


def part(value: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def unsigned(key: ECKey, claims: Claims) -> str:
    return f"{part({'alg': 'none', 'kid': key.kid})}.{part(claims)}."


def signed_with_the_public_key(key: ECKey, claims: Claims) -> str:
    secret = OctKey.import_key(json.dumps(key.as_dict(private=False), sort_keys=True).encode())
    return jwt.encode({"alg": "HS256", "kid": key.kid}, claims, secret)


def with_header(**fields: Any) -> Callable[[ECKey, Claims], str]:
    def make(key: ECKey, claims: Claims) -> str:
        registry = jws.JWSRegistry(strict_check_header=False)
        header = {"alg": "ES256", "kid": key.kid, **fields}
        return jws.serialize_compact(header, json.dumps(claims), STRANGER, registry=registry)

    return make


def with_claims(**changes: Any) -> Callable[[ECKey, Claims], str]:
    def make(key: ECKey, claims: Claims) -> str:
        changed = {n: v for n, v in {**claims, **changes}.items() if v is not None}
        return jwt.encode({"alg": "ES256", "kid": key.kid}, changed, key)

    return make


def critical(key: ECKey, claims: Claims) -> str:
    header = {"alg": "ES256", "kid": key.kid, "crit": ["x-ours"], "x-ours": 1}
    head, body = part(header), part(claims)
    signature = jws.serialize_compact({"alg": "ES256", "kid": key.kid}, b"x", key).split(".")[2]
    return f"{head}.{body}.{signature}"


@pytest.mark.parametrize(
    "forge",
    [
        unsigned,
        signed_with_the_public_key,
        with_header(),
        with_header(kid="../../dev/null"),
        with_header(kid="x' OR '1'='1"),
        with_header(jku="http://127.0.0.1:9/keys"),
        with_header(x5u="http://127.0.0.1:9/cert"),
        with_header(jwk=STRANGER.as_dict(private=False)),
        critical,
        with_claims(aud="another"),
        with_claims(aud=None),
        with_claims(iss="https://evil.example"),
        with_claims(iss="crm-services", sub="services/sales"),
        with_claims(exp=int(time()) - 3600),
        with_claims(exp=None),
        with_claims(nbf=int(time()) + 3600),
        with_claims(sub="users/nobody"),
        with_claims(sub=None),
        with_claims(sid="no-uuid"),
        lambda _key, _claims: "x" * 5000,
        lambda _key, _claims: "..",
    ],
)
async def test_a_forged_token_is_refused(
    identity: "Identity", forge: Callable[[ECKey, Claims], str]
) -> None:
    """INVARIANT: only a token that identity signed, for us and for now, is somebody's."""
    ada = await identity.person()
    home = identity.under_test.running.home
    key = (await all_keys(home.database, new_call(home, ANONYMOUS)))[-1].pair
    claims = {
        "iss": ISSUER, "aud": "crm", "sub": ada.name, "sid": ada.session.name.split("/")[1],
        "exp": int(time()) + 600,
    }  # fmt: skip
    good = (("authorization", f"Bearer {with_claims()(key, claims)}"),)
    await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=good)
    metadata = (("authorization", f"Bearer {forge(key, claims)}"),)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.users.GetCurrentUser(user_pb2.GetCurrentUserRequest(), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert details_of(refused.value)["reason"] in {"INVALID_TOKEN", "TOKEN_EXPIRED"}


async def test_a_refresh_token_is_no_access_token(identity: "Identity") -> None:
    ada = await identity.person()
    metadata = (("authorization", f"Bearer {ada.session.refresh_token}"),)
    with pytest.raises(grpc.aio.AioRpcError) as refused:
        await identity.sessions.ListSessions(session_pb2.ListSessionsRequest(), metadata=metadata)
    assert refused.value.code() == grpc.StatusCode.UNAUTHENTICATED
