"""The front door as REST clients meet it: through a real Envoy to a real gRPC backend.

Invariant: whatever a caller sends, the answer is the service's, or a google.rpc.Status that says
why not; nothing sent is silently dropped.
"""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2

from crm.customer.v1 import account_pb2, account_pb2_grpc

from .answers import problem

ACCOUNTS = "/v1/accounts"


async def test_rest_creates_and_reads_in_snake_case(rest: httpx.AsyncClient) -> None:
    created = await rest.post(ACCOUNTS, json={"display_name": "Acme", "kind": "ORGANISATION"})
    assert created.status_code == 200, created.text
    assert created.json()["display_name"] == "Acme"
    assert created.headers["etag"] == '"v1"'
    read = await rest.get(f"{ACCOUNTS}/42")
    assert read.json()["name"] == "accounts/42"


async def test_a_write_keeps_its_path_and_accepts_the_same_name_in_the_body(
    rest: httpx.AsyncClient,
) -> None:
    body = {"name": "accounts/42", "display_name": "New"}
    assert (await rest.patch(f"{ACCOUNTS}/42", json=body)).json()["name"] == "accounts/42"
    other = await rest.patch(f"{ACCOUNTS}/42", json=body | {"name": "accounts/43"})
    assert problem(other)[0] == 400


async def test_a_custom_method_needs_no_body(rest: httpx.AsyncClient) -> None:
    answer = await rest.post(f"{ACCOUNTS}/42:undelete")
    assert answer.status_code == 200, answer.text
    assert (await rest.post(f"{ACCOUNTS}/42:undelete", json={})).status_code == 200


async def test_an_unknown_body_field_is_refused_and_named(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    before = len(gate.seen.calls)
    answer = await rest.post(ACCOUNTS, json={"displayName": "Acme"})
    assert problem(answer) == (400, 3, "UNKNOWN_FIELD")
    violations = answer.json()["details"][1]["field_violations"]
    assert violations[0]["field"] == "account.displayName"
    assert "display_name" in violations[0]["description"]
    assert len(gate.seen.calls) == before


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"{", "INVALID_JSON"),
        (b'{"kind": "ORGANISATION", "kind": "PERSON"}', "INVALID_JSON"),
        (b"[" * 5000, "INVALID_JSON"),
        (b"\xff", "INVALID_JSON"),
        (b"[]", "INVALID_FIELD"),
        (b'{"display_name": 7}', "INVALID_FIELD"),
    ],
)
async def test_a_malformed_body_is_the_callers_fault(
    rest: httpx.AsyncClient, body: bytes, reason: str
) -> None:
    headers = {"content-type": "application/json"}
    answer = await rest.post(ACCOUNTS, content=body, headers=headers)
    assert problem(answer) == (400, 3, reason)


@pytest.mark.parametrize(
    "path",
    [
        f"{ACCOUNTS}?colour=red",
        f"{ACCOUNTS}?page_size=many",
        f"{ACCOUNTS}?page_size=99999999999999999999",
        f"{ACCOUNTS}?filter=%FF",
        f"{ACCOUNTS}/%C3%28",
        f"{ACCOUNTS}/a%2Fb",
    ],
)
async def test_a_bad_address_is_the_callers_fault(rest: httpx.AsyncClient, path: str) -> None:
    assert problem(await rest.get(path))[:2] == (400, 3)


async def test_text_in_any_language_passes_in_a_query(rest: httpx.AsyncClient) -> None:
    answer = await rest.get(ACCOUNTS, params={"filter": 'display_name = "张三 & Söhne 😀"'})
    assert answer.json()["next_page_token"] == 'display_name = "张三 & Söhne 😀"'


@pytest.mark.parametrize(
    ("verb", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/v1/nothing"),
        ("GET", f"{ACCOUNTS}/42/43"),
        ("GET", "/_check/v1/accounts"),
        ("POST", f"{ACCOUNTS}/42:unknown"),
    ],
)
async def test_no_route_is_a_status(rest: httpx.AsyncClient, verb: str, path: str) -> None:
    assert problem(await rest.request(verb, path)) == (404, 5, "ROUTE_NOT_FOUND")


async def test_the_services_errors_keep_their_details_over_rest(rest: httpx.AsyncClient) -> None:
    answer = await rest.get(f"{ACCOUNTS}/missing")
    assert problem(answer) == (404, 5, "RECORD_NOT_FOUND")
    assert answer.json()["message"] == "no such account"


async def test_a_service_that_is_down_is_unavailable(rest: httpx.AsyncClient) -> None:
    answer = await rest.get("/v1/opportunities")
    assert problem(answer) == (503, 14, "SERVICE_UNAVAILABLE")
    assert "connect" not in answer.text, "Envoy's inner workings are nobody's business"


async def test_a_call_that_takes_too_long_says_so(
    rest: httpx.AsyncClient, channel: grpc.aio.Channel, gate: Any
) -> None:
    answer = await rest.get(f"{ACCOUNTS}/slow", headers={"grpc-timeout": "500m"})
    assert problem(answer) == (504, 4, "DEADLINE_EXCEEDED")
    stub = account_pb2_grpc.AccountServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetAccount(
            account_pb2.GetAccountRequest(name="accounts/slow"),
            metadata=tuple(gate.headers().items()),
            timeout=0.5,
        )
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED


async def test_the_access_log_has_no_query_and_no_names(rest: httpx.AsyncClient, gate: Any) -> None:
    await rest.get(ACCOUNTS, params={"filter": "secret-filter"})
    await rest.get(f"{ACCOUNTS}/logged")
    deadline = time.monotonic() + 20
    while "/logged" not in (text := gate.log.read_text()):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)
    assert '"path":"/v1/accounts/logged"' in text
    assert "secret-filter" not in text
    assert "users/anna" not in text
    assert "127.0.0.1" not in text


async def test_a_body_over_four_mebibytes_is_refused(rest: httpx.AsyncClient) -> None:
    answer = await rest.post(ACCOUNTS, json={"display_name": "x" * (5 << 20)})
    assert problem(answer) == (413, 3, "REQUEST_TOO_LARGE")


async def test_an_upload_streams_through_in_pieces(rest: httpx.AsyncClient, gate: Any) -> None:
    async def pieces() -> AsyncIterator[bytes]:
        for _ in range(40):
            yield b"x" * (1 << 20)

    headers = {"content-type": "text/csv"}
    answer = await rest.post("/v1/customer/uploads", content=pieces(), headers=headers)
    assert answer.json() == {"name": "uploads/1", "size_bytes": str(40 << 20)}
    assert gate.seen.upload_pieces > 5


async def test_an_upload_with_an_api_key_streams_through_too(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    headers = {"authorization": f"Bearer {gate.api_key}"}
    body = b"x" * (9 << 20)
    answer = await rest.post("/v1/customer/uploads", content=body, headers=headers)
    assert answer.json()["size_bytes"] == str(9 << 20)


async def test_a_stream_is_server_sent_events(rest: httpx.AsyncClient) -> None:
    answer = await rest.get("/v1/customer/events:stream")
    assert answer.headers["content-type"] == "text/event-stream"
    lines = [line for line in answer.text.splitlines() if line.startswith("data: ")]
    assert [json.loads(line[6:])["cursor"] for line in lines] == ["0", "1", "2"]


async def test_the_request_id_is_kept_or_made_and_returned(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    given = {"x-request-id": "0190a000-0000-7000-8000-00000000abcd"}
    answer = await rest.get(f"{ACCOUNTS}/42", headers=given)
    assert answer.headers["x-request-id"] == given["x-request-id"]
    assert gate.last["x-request-id"] == given["x-request-id"]
    made = await rest.get(f"{ACCOUNTS}/42")
    assert made.headers["x-request-id"] == gate.last["x-request-id"]


async def test_preconditions_reach_the_service(rest: httpx.AsyncClient, gate: Any) -> None:
    headers = {"if-match": '"v1"', "idempotency-key": "k1"}
    await rest.patch(f"{ACCOUNTS}/42", json={"display_name": "x"}, headers=headers)
    assert gate.last["if-match"] == '"v1"'
    assert gate.last["idempotency-key"] == "k1"


async def test_rest_calls_have_a_deadline_of_ten_seconds_or_their_own(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    await rest.get(f"{ACCOUNTS}/42")
    assert 5 < gate.seen.deadlines[-1] <= 10
    await rest.get(f"{ACCOUNTS}/42", headers={"grpc-timeout": "3S"})
    assert 1 < gate.seen.deadlines[-1] <= 3


async def test_cors_admits_the_configured_origin_only(rest: httpx.AsyncClient) -> None:
    preflight = {
        "access-control-request-method": "PATCH",
        "access-control-request-headers": "authorization,if-match",
    }
    admitted = await rest.options(
        f"{ACCOUNTS}/42", headers={"origin": "https://console.example", **preflight}
    )
    assert admitted.status_code == 200
    assert admitted.headers["access-control-allow-origin"] == "https://console.example"
    assert "if-match" in admitted.headers["access-control-allow-headers"]
    foreign = await rest.get(f"{ACCOUNTS}/42", headers={"origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


async def test_a_subject_that_calls_too_often_waits_and_others_do_not(gate: Any) -> None:
    async with httpx.AsyncClient(base_url=gate.url) as client:
        busy = gate.headers("users/busy")
        for _ in range(310):
            answer = await client.get(f"{ACCOUNTS}/42", headers=busy)
            if answer.status_code == 429:
                break
        assert problem(answer) == (429, 8, "RATE_LIMITED")
        assert int(answer.headers["retry-after"]) > 0
        calm = await client.get(f"{ACCOUNTS}/42", headers=gate.headers("users/calm"))
        assert calm.status_code == 200
        assert calm.headers["x-ratelimit-remaining"]


async def test_health_and_reflection_need_no_token(channel: grpc.aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    for name in ("", "customer", "crm.customer.v1.AccountService"):
        answer = await health.Check(health_pb2.HealthCheckRequest(service=name))
        assert answer.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await health.Check(health_pb2.HealthCheckRequest(service="nobody"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    for version in ("v1", "v1alpha"):
        call = channel.stream_stream(
            f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo",
            request_serializer=reflection_pb2.ServerReflectionRequest.SerializeToString,
            response_deserializer=reflection_pb2.ServerReflectionResponse.FromString,
        )
        symbols = ("crm.customer.v1.Account", f"grpc.reflection.{version}.ServerReflection")
        requests = [reflection_pb2.ServerReflectionRequest(list_services="*")]
        requests += [
            reflection_pb2.ServerReflectionRequest(file_containing_symbol=symbol)
            for symbol in symbols
        ]
        answers = [answer async for answer in call(iter(requests))]
        names = {service.name for service in answers[0].list_services_response.service}
        assert {"crm.customer.v1.AccountService", "grpc.health.v1.Health"} <= names
        assert "crm.common.v1.FeedService" not in names
        for answer in answers[1:]:
            assert answer.file_descriptor_response.file_descriptor_proto


async def test_the_edges_pages_are_served_and_load_nothing_from_elsewhere(
    rest: httpx.AsyncClient,
) -> None:
    anonymous = {"authorization": ""}
    for path in ("/", "/docs", "/static/docs.js", "/static/docs.css"):
        page = await rest.get(path, headers=anonymous)
        assert page.status_code == 200, path
        assert "http" not in page.text.replace("location.origin", "").replace("http-equiv", "")
    policy = (await rest.get("/docs")).headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    document = await rest.get("/openapi.json")
    assert document.json()["openapi"].startswith("3.1")
    keys = await rest.get("/.well-known/jwks.json")
    assert keys.json()["keys"][0]["kty"] == "EC"
    assert "d" not in keys.json()["keys"][0]


async def test_readiness_names_what_is_ready(rest: httpx.AsyncClient) -> None:
    assert (await rest.get("/healthz")).json() == {"status": "live"}
    ready = await rest.get("/readyz")
    assert ready.status_code == 200
    assert ready.json()["services"] == {"identity": "serving", "customer": "serving"}
