"""Who calls: tokens and API keys get through, and no identity header of a caller does."""

import base64
import json
from typing import Any

import grpc
import httpx
import pytest

from crm.customer.v1 import account_pb2, account_pb2_grpc

from .answers import problem

ACCOUNTS = "/v1/accounts"


async def test_identity_headers_of_callers_are_stripped(rest: httpx.AsyncClient, gate: Any) -> None:
    forged = {"x-sub": "users/root", "x-on-behalf-of": "users/root", "x-crm-caller": "sales"}
    await rest.get(f"{ACCOUNTS}/42", headers=forged)
    assert not forged.keys() & gate.last.keys()
    async with httpx.AsyncClient(base_url=gate.url) as anonymous:
        await anonymous.get(f"{ACCOUNTS}/42", headers=forged)
    assert not forged.keys() & gate.last.keys()


async def test_the_service_learns_where_a_request_comes_from(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    """INVARIANT: the gateway says it; what callers claim about themselves does not count."""
    forged = {"x-crm-client-address": "203.0.113.7", "x-forwarded-for": "203.0.113.7"}
    await rest.get(f"{ACCOUNTS}/42", headers=forged)
    assert gate.last["x-crm-client-address"] == "127.0.0.1"


async def test_two_tokens_are_none(gate: Any) -> None:
    """INVARIANT: nobody chooses which of two tokens is checked and which is used."""
    good, bad = (gate.keys.token(f"users/{name}") for name in ("anna", "root"))
    both = [("authorization", f"Bearer {token}") for token in (good, bad[:-8] + "AAAAAAAA")]
    async with httpx.AsyncClient(base_url=gate.url) as client:
        for headers in (both, both[::-1]):
            before = len(gate.seen.calls)
            answer = await client.get(f"{ACCOUNTS}/42", headers=headers)
            assert answer.status_code in (400, 401)
            assert len(gate.seen.calls) == before
        assert (await client.get(f"{ACCOUNTS}/42", headers=both[:1])).status_code == 200


async def test_the_access_token_reaches_the_service(rest: httpx.AsyncClient, gate: Any) -> None:
    await rest.get(f"{ACCOUNTS}/42")
    assert gate.last["authorization"].startswith("Bearer eyJ")


async def test_an_expired_or_forged_token_is_refused_but_not_where_none_is_needed(
    rest: httpx.AsyncClient, gate: Any
) -> None:
    for token in (gate.keys.token(seconds=-300), "eyJhbGciOiJub25lIn0.e30.", "rubbish"):
        headers = {"authorization": f"Bearer {token}"}
        answer = await rest.get(f"{ACCOUNTS}/42", headers=headers)
        assert problem(answer) == (401, 16, "INVALID_ACCESS_TOKEN")
        body = {"email": "a@example.com", "password": "x"}
        assert (await rest.post("/v1/sessions", json=body, headers=headers)).status_code == 200


async def test_an_api_key_is_exchanged_once_for_a_token(rest: httpx.AsyncClient, gate: Any) -> None:
    headers = {"authorization": f"Bearer {gate.api_key}"}
    await rest.get(f"{ACCOUNTS}/42", headers=headers)
    before = gate.seen.exchanges
    assert (await rest.get(f"{ACCOUNTS}/42", headers=headers)).status_code == 200
    written = await rest.post(ACCOUNTS, json={"display_name": "A"}, headers=headers)
    assert written.status_code == 200, written.text
    claims = gate.last["authorization"].removeprefix("Bearer ").split(".")[1]
    assert json.loads(base64.urlsafe_b64decode(claims + "=="))["sub"] == "users/robot"
    assert gate.seen.exchanges == before


async def test_an_unknown_api_key_is_refused_over_rest_and_grpc(
    rest: httpx.AsyncClient, channel: grpc.aio.Channel
) -> None:
    headers = {"authorization": "Bearer crm_test_wrong"}
    answer = await rest.get(f"{ACCOUNTS}/42", headers=headers)
    assert problem(answer) == (401, 16, "INVALID_API_KEY")
    stub = account_pb2_grpc.AccountServiceStub(channel)
    with pytest.raises(grpc.aio.AioRpcError) as error:
        await stub.GetAccount(
            account_pb2.GetAccountRequest(name="accounts/42"), metadata=tuple(headers.items())
        )
    assert error.value.code() == grpc.StatusCode.UNAUTHENTICATED
    assert error.value.details() == "The API key is not valid."
