"""What the gateway refuses by itself: at once, with a reason, over REST and gRPC alike."""

import base64
import time
import uuid
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import status_pb2
from joserfc import jwt
from joserfc.jwk import ECKey, OctKey

from crm.customer.v1 import account_pb2, account_pb2_grpc

from .answers import grpc_reason, refusal

ACCOUNTS = "/v1/accounts"


def tokens(gate: Any) -> dict[str, str]:
    """Access tokens, each wrong in one way."""
    good = {
        "iss": gate.keys.issuer,
        "aud": "crm",
        "sub": "users/anna",
        "exp": int(time.time()) + 600,
    }
    key = gate.keys.key
    stranger = ECKey.generate_key("P-256", {"kid": "other"})
    secret = OctKey.import_key("0" * 40)
    header = {"alg": "ES256", "kid": "one"}
    return {
        "unknown kid": jwt.encode(header | {"kid": "other"}, good, stranger),
        "foreign key": jwt.encode(header, good, stranger),
        "HS256": jwt.encode({"alg": "HS256", "kid": "one"}, good, secret, algorithms=["HS256"]),
        "wrong audience": jwt.encode(header, good | {"aud": "other"}, key),
        "no audience": jwt.encode(header, {k: v for k, v in good.items() if k != "aud"}, key),
        "wrong issuer": jwt.encode(header, good | {"iss": "https://evil.example"}, key),
        "expired": jwt.encode(header, good | {"exp": 1}, key),
        "not yet": jwt.encode(header, good | {"nbf": int(time.time()) + 9000}, key),
        "none": "eyJhbGciOiJub25lIn0.e30.",
        "rubbish": "rubbish",
        "three dots": "a.b.c",
        "empty": "",
    }


@pytest.mark.parametrize(
    "wrong",
    [
        *("unknown kid", "foreign key", "HS256", "wrong audience", "no audience", "wrong issuer"),
        *("expired", "not yet", "none", "rubbish", "three dots"),
    ],
)
async def test_a_wrong_token_is_unauthenticated_over_rest_and_grpc(
    rest: httpx.AsyncClient, channel: grpc.aio.Channel, gate: Any, wrong: str
) -> None:
    headers = {"authorization": f"Bearer {tokens(gate)[wrong]}"}
    answer = await rest.get(f"{ACCOUNTS}/42", headers=headers)
    assert refusal(answer) == (401, "INVALID_ACCESS_TOKEN")
    words = "has expired" if wrong == "expired" else "is not valid"
    assert answer.json()["message"] == f"The access token {words}."
    stub = account_pb2_grpc.AccountServiceStub(channel)
    request = account_pb2.GetAccountRequest(name="accounts/42")
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetAccount(request, metadata=tuple(headers.items()), timeout=10)
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert grpc_reason(error.value) == "INVALID_ACCESS_TOKEN"
    assert error.value.details() == f"The access token {words}."


async def test_grpc_callers_learn_the_reason_of_every_refusal(
    channel: grpc.aio.Channel, gate: Any
) -> None:
    metadata = tuple(gate.headers(f"users/{uuid.uuid4()}").items())
    key = (("authorization", "Bearer crm_test_wrong"),)
    get = "/crm.customer.v1.AccountService/GetAccount"
    refusals = [
        ("/crm.customer.v1.NobodyService/Get", b"", metadata, "UNIMPLEMENTED", "ROUTE_NOT_FOUND"),
        ("/crm.common.v1.FeedService/GetHead", b"", metadata, "UNIMPLEMENTED", "ROUTE_NOT_FOUND"),
        (get, b"", key, "UNAUTHENTICATED", "INVALID_API_KEY"),
        (get, b"x" * (5 << 20), metadata, "RESOURCE_EXHAUSTED", "REQUEST_TOO_LARGE"),
        (
            "/crm.sales.v1.OpportunityService/GetOpportunity",
            b"",
            metadata,
            "UNAVAILABLE",
            "SERVICE_UNAVAILABLE",
        ),
    ]
    for path, body, given, code, reason in refusals:
        with pytest.raises(grpc.aio.AioRpcError) as error:
            await channel.unary_unary(path)(body, metadata=given, timeout=20)
        assert (error.value.code().name, grpc_reason(error.value)) == (code, reason), path


async def test_a_grpc_deadline_that_passes_has_a_reason(rest: httpx.AsyncClient, gate: Any) -> None:
    """Only the gateway counts: a service's gRPC library would end the call without a reason."""
    slow = account_pb2.GetAccountRequest(name="accounts/slow").SerializeToString()
    answer = await rest.post(
        "/crm.customer.v1.AccountService/GetAccount",
        content=b"\0\0\0\0" + bytes([len(slow)]) + slow,
        headers={"content-type": "application/grpc", "grpc-timeout": "300m"},
    )
    assert answer.headers["grpc-status"] == "4"
    status = status_pb2.Status.FromString(
        base64.b64decode(answer.headers["grpc-status-details-bin"] + "==")
    )
    assert status.code == 4
    assert b"DEADLINE_EXCEEDED" in status.details[0].value
    assert gate.seen.deadlines[-1] is None
