"""Bad headers, seen from outside: the caller alone gets an error, and nobody else notices."""

import uuid
from typing import Any

import grpc
import httpx
import pytest

from crm.customer.v1 import account_pb2
from gateway.envoy_headers import none_of

from .answers import refusal

ACCOUNTS = "/v1/accounts"
GET = "/crm.customer.v1.AccountService/GetAccount"
# What gRPC libraries refuse a call for: names, broken base64, words of their own protocol.
DISLIKED = [
    *((f"x{sign}y", "1") for sign in "|!~'%^+#$&*`._"),
    ("x-bin", "!!!"),
    ("grpc-trace-bin", "!"),
    ("grpc-tags-bin", "ZZ"),
    ("grpc-status-details-bin", "?"),
    ("grpc-accept-encoding", "zzz"),
    ("grpc-previous-rpc-attempts", "x"),
    ("grpc-retry-pushback-ms", "x"),
    ("grpc-internal-encoding-request", "x"),
    ("lb-cost-bin", "x"),
    ("grpc-status", "x"),
    ("te", "gzip"),
    ("x-envoy-upstream-rq-timeout-ms", "1"),
    ("x-envoy-original-path", "/x"),
    ("x-text", "\u00e9"),
]
# Forwarded, with whatever they hold: services must live with it.
FORWARDED = ["if-match", "idempotency-key", "x-request-id", "traceparent", "cookie", "user-agent"]


@pytest.mark.parametrize(
    "value", ["bad", "1", "S", "-1S", "1.5S", "999999999S", "1s", "1S,1S", "\u00e9"]
)
async def test_a_malformed_timeout_is_refused_and_poisons_nothing(
    rest: httpx.AsyncClient, gate: Any, value: str
) -> None:
    before = len(gate.seen.calls)
    answer = await rest.get(f"{ACCOUNTS}/42", headers={"grpc-timeout": value.encode("latin-1")})
    assert refusal(answer) == (400, "INVALID_REQUEST")
    assert "grpc-timeout" in answer.json()["message"]
    assert len(gate.seen.calls) == before
    for _ in range(20):
        assert (await rest.get(f"{ACCOUNTS}/42")).status_code == 200


@pytest.mark.parametrize("value", ["99999999H", "99999999S", "00000001M"])
async def test_a_timeout_without_measure_is_cut(
    rest: httpx.AsyncClient, gate: Any, value: str
) -> None:
    answer = await rest.get(f"{ACCOUNTS}/42", headers={"grpc-timeout": value})
    assert answer.status_code == 200
    assert gate.seen.deadlines[-1] > 1


@pytest.mark.parametrize("value", ["0S", "1n", "00000000H"])
async def test_no_time_at_all_is_a_deadline(rest: httpx.AsyncClient, value: str) -> None:
    answer = await rest.get(f"{ACCOUNTS}/42", headers={"grpc-timeout": value})
    assert answer.status_code in (200, 504), answer.text
    if answer.status_code == 504:
        assert refusal(answer) == (504, "DEADLINE_EXCEEDED")
    assert (await rest.get(f"{ACCOUNTS}/42")).status_code == 200


@pytest.mark.parametrize(("name", "value"), DISLIKED)
async def test_a_header_that_grpc_dislikes_does_not_reach_the_service(
    rest: httpx.AsyncClient, gate: Any, name: str, value: str
) -> None:
    headers = {name.encode(): value.encode("latin-1")}
    answer = await rest.get(f"{ACCOUNTS}/42", headers=headers)
    assert answer.status_code == 200, answer.text
    assert gate.last.get(name) != value
    assert (await rest.get(f"{ACCOUNTS}/42")).status_code == 200


@pytest.mark.parametrize("name", FORWARDED)
@pytest.mark.parametrize("value", ["\u00e9\u00ff", "a" * 20_000, "", '"', "a,b", "%00"])
async def test_any_value_of_a_known_header_reaches_the_service(
    rest: httpx.AsyncClient, name: str, value: str
) -> None:
    answer = await rest.get(f"{ACCOUNTS}/42", headers={name: value.encode("latin-1")})
    assert answer.status_code == 200, answer.text
    assert (await rest.get(f"{ACCOUNTS}/42")).status_code == 200


@pytest.mark.parametrize("host", ["", "\u00e9", "a b", "x" * 10_000, "a|b", "[::1]:1"])
async def test_a_strange_host_is_answered(rest: httpx.AsyncClient, host: str) -> None:
    answer = await rest.get(f"{ACCOUNTS}/42", headers={"host": host.encode("latin-1")})
    assert answer.status_code in (200, 400), answer.text
    assert (await rest.get(f"{ACCOUNTS}/42")).status_code == 200


@pytest.mark.parametrize("header", ["grpc-encoding", "grpc-timeout"])
async def test_grpc_callers_are_told_as_well(gate: Any, header: str) -> None:
    headers = gate.headers(f"users/{uuid.uuid4()}") | {
        header: "zzz",
        "content-type": "application/grpc",
    }
    async with httpx.AsyncClient(base_url=gate.url, headers=headers) as client:
        answer = await client.post(GET, content=b"\0\0\0\0\0")
    assert answer.status_code == 200
    assert answer.headers["grpc-status"] == "3"
    assert answer.headers["grpc-status-details-bin"]


async def test_unknown_metadata_of_a_grpc_caller_is_dropped(
    channel: grpc.aio.Channel, gate: Any
) -> None:
    call = channel.unary_unary(GET, response_deserializer=account_pb2.Account.FromString)
    request = account_pb2.GetAccountRequest(name="accounts/42").SerializeToString()
    metadata = (
        *gate.headers(f"users/{uuid.uuid4()}").items(),
        ("my-trace", "1"),
        ("my-bin", b"\xff"),
    )
    assert (await call(request, metadata=metadata)).name == "accounts/42"
    assert "my-trace" not in gate.last
    assert "x-envoy-original-path" not in gate.last


async def test_a_thousand_names_fit_in_an_address(rest: httpx.AsyncClient, gate: Any) -> None:
    uid = "0190a000-0000-7000-8000-000000000001"
    for separator in ("/", "%2F"):
        names = "&".join(f"names=service_contracts{separator}{uid}" for _ in range(1000))
        for headers in ({}, {"authorization": f"Bearer {gate.api_key}"}):
            answer = await rest.get(f"{ACCOUNTS}:batchGet?{names}", headers=headers)
            assert len(answer.json()["accounts"]) == 1000, answer.text[:500]
    assert gate.last["x-envoy-original-path"] == f"{ACCOUNTS}:batchGet"


async def test_a_path_that_is_too_long_says_so(rest: httpx.AsyncClient) -> None:
    for size in (9_000, 17_000, 60_000):
        answer = await rest.get(f"{ACCOUNTS}/{'x' * size}")
        assert answer.status_code == 200, answer.text[:500]
    for path, headers in (
        (f"{ACCOUNTS}?filter={'x' * 60_000}", {"cookie": "a=b;" * 12_000}),
        (ACCOUNTS, {"cookie": "a=b;" * 40_000}),
        (ACCOUNTS, {f"x-{number}": "" for number in range(200)}),
    ):
        answer = await rest.get(path, headers=headers)
        assert refusal(answer) == (431, "HEADERS_TOO_LARGE")


def test_the_regular_expression_for_all_other_names_matches_exactly_those() -> None:
    import re  # noqa: PLC0415

    known = ["te", "text", "a", "ab", "x-a", "x-b.c"]
    others = re.compile(none_of(known, prefixes=("x-crm-", ":")))
    for name in (*known, "x-crm-", "x-crm-anything", ":path"):
        assert not others.fullmatch(name), name
    for name in ("t", "tex", "texts", "b", "abc", "x", "x-", "x-crm", "x-bxc", "`", "x-A"):
        assert others.fullmatch(name), name
