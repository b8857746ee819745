"""Requests that make no sense: refused at once, before they reach a service, with a reason."""

import asyncio
import base64
import re
import uuid
from typing import Any

import grpc
import httpx
import pytest

from .answers import grpc_reason, refusal

ACCOUNTS = "/v1/accounts"
GET_ACCOUNT = "/crm.customer.v1.AccountService/GetAccount"
FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("verb", "path", "content", "headers", "expected"),
    [
        ("GET", ACCOUNTS, b'{"filter": "x"}', {}, (400, "INVALID_REQUEST")),
        ("GET", f"{ACCOUNTS}/42", b"{}", {}, (400, "INVALID_REQUEST")),
        ("GET", f"{ACCOUNTS}/42", b"{}", {"transfer-encoding": "chunked"}, (400, "INVALID_REQUEST")),
        ("DELETE", f"{ACCOUNTS}/42", b'{"zzz": 1}', {}, (400, "INVALID_REQUEST")),
        ("GET", "/v1/customer/events:stream", b"{}", {}, (400, "INVALID_REQUEST")),
        ("PUT", f"{ACCOUNTS}/42", b"{}", {}, (405, "METHOD_NOT_ALLOWED")),
        ("DELETE", ACCOUNTS, b"", {}, (405, "METHOD_NOT_ALLOWED")),
        ("TRACE", ACCOUNTS, b"", {}, (405, "METHOD_NOT_ALLOWED")),
        ("GET", f"{ACCOUNTS}/42:undelete", b"", {}, (405, "METHOD_NOT_ALLOWED")),
        ("PUT", "/v1/customer/uploads", b"x", {}, (405, "METHOD_NOT_ALLOWED")),
        ("GET", f"{ACCOUNTS}/", b"", {}, (404, "ROUTE_NOT_FOUND")),
        ("GET", f"{ACCOUNTS}/42/", b"", {}, (404, "ROUTE_NOT_FOUND")),
        ("POST", ACCOUNTS, b"", {}, (400, "INVALID_JSON")),
        ("POST", ACCOUNTS, b" ", {}, (400, "INVALID_JSON")),
        ("POST", ACCOUNTS, b'{"\\ud800": 1}', {}, (400, "INVALID_JSON")),
        ("POST", ACCOUNTS, b'{"kind": "\\ud800"}', {}, (400, "INVALID_JSON")),
        ("POST", ACCOUNTS, b'{"labels": {"\\ud800": "x"}}', {}, (400, "INVALID_JSON")),
        ("POST", ACCOUNTS, b"{}", {"content-type": "text/xml"}, (415, "UNSUPPORTED_CONTENT")),
        ("POST", ACCOUNTS, b"{}", {"content-type": "json"}, (415, "UNSUPPORTED_CONTENT")),
        ("POST", ACCOUNTS, b"\x1f\x8b", {"content-encoding": "gzip"}, (415, "UNSUPPORTED_CONTENT")),
        ("POST", ACCOUNTS, b"a=b", {"content-type": FORM}, (415, "UNSUPPORTED_CONTENT")),
        ("POST", GET_ACCOUNT, b"{}", {"content-type": "application/json"}, (415, "UNSUPPORTED_CONTENT")),
        ("GET", GET_ACCOUNT, b"", {}, (405, "METHOD_NOT_ALLOWED")),
    ],
)  # fmt: skip
async def test_what_makes_no_sense_is_refused(
    rest: httpx.AsyncClient,
    gate: Any,
    verb: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
    expected: tuple[int, str],
) -> None:
    before = len(gate.seen.calls)
    given = {"content-type": "application/json"} | headers
    answer = await rest.request(verb, path, content=content, headers=given)
    assert refusal(answer) == expected
    assert len(gate.seen.calls) == before


async def test_json_may_say_its_character_set_or_nothing(rest: httpx.AsyncClient) -> None:
    for kind in ("application/json; charset=utf-8", "Application/JSON", "", None):
        headers = {} if kind is None else {"content-type": kind}
        answer = await rest.post(ACCOUNTS, content=b'{"display_name": "A"}', headers=headers)
        assert answer.status_code == 200, answer.text


async def test_an_upload_that_says_it_is_too_large_is_refused_at_once(gate: Any) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gate.port)
    token = gate.keys.token(f"users/{uuid.uuid4()}")
    head = (
        f"POST /v1/customer/uploads HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n"
        "content-type: text/csv\r\ncontent-length: 629145600\r\n\r\n"
    )
    writer.write(head.encode())
    answer = await asyncio.wait_for(reader.readuntil(b"REQUEST_TOO_LARGE"), 5)
    assert b"413" in answer.split(b"\r\n")[0]
    writer.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8080", 200),
        ("[::1]:8080", 200),
        ("localhost", 200),
        ("crm.localhost:8080", 200),
        ("gateway:8080", 200),
        ("crm.partner.example", 200),
        ("CRM.partner.example:443", 200),
        ("evil.example", 421),
        ("crm.partner.example.evil.example", 421),
        ("127.0.0.1.evil.example:8080", 421),
    ],
)
async def test_only_the_names_of_the_gateway_are_answered(
    rest: httpx.AsyncClient, host: str, status: int
) -> None:
    """A name of a stranger's that leads here gives their page no door."""
    answer = await rest.get(f"{ACCOUNTS}/42", headers={"host": host})
    assert answer.status_code == status
    if status != 200:
        assert refusal(answer) == (421, "MISDIRECTED_REQUEST")


async def test_browsers_that_ask_for_an_icon_get_none(rest: httpx.AsyncClient) -> None:
    assert (await rest.get("/favicon.ico")).status_code == 204


@pytest.mark.parametrize("kind", ["application/grpc-web+proto", "application/grpc-web-text"])
@pytest.mark.parametrize("body", [b"", b"\0", b"\0\0\0\0\x09abc"])
async def test_grpc_web_that_ends_early_is_an_error_at_once(
    rest: httpx.AsyncClient, kind: str, body: bytes
) -> None:
    content = base64.b64encode(body) if kind.endswith("text") else body
    for path in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"):
        answer = await rest.post(path, content=content, headers={"content-type": kind}, timeout=5)
        content_of = base64.b64decode if kind.endswith("text") else bytes
        trailer = re.search(rb"grpc-status:([0-9]+)", content_of(answer.content))
        status = trailer[1].decode() if trailer else answer.headers["grpc-status"]
        assert (answer.status_code, status) in ((200, "3"), (200, "8")), answer.content


async def test_health_and_reflection_refuse_what_is_no_message(channel: grpc.aio.Channel) -> None:
    for path in ("/grpc.health.v1.Health/Check", "/grpc.health.v1.Health/Watch"):
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in channel.unary_stream(path)(b"\xff", timeout=5):
                pass
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert grpc_reason(error.value) == "MALFORMED_MESSAGE"
    for version in ("v1", "v1alpha"):
        path = f"/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo"
        with pytest.raises(grpc.aio.AioRpcError) as error:
            async for _ in channel.stream_stream(path)(iter([b"\xff"]), timeout=5):
                pass
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
        assert grpc_reason(error.value) == "MALFORMED_MESSAGE"


async def test_a_wrong_verb_is_told_the_right_ones(rest: httpx.AsyncClient) -> None:
    for verb, path, allowed in (
        ("PUT", ACCOUNTS, "GET, POST"),
        ("POST", f"{ACCOUNTS}/42", "DELETE, GET, PATCH"),
        ("HEAD", f"{ACCOUNTS}/42:undelete", "POST"),
    ):
        answer = await rest.request(verb, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed)
