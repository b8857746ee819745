"""Invariant: with services down the edge still answers, says what is down, and never guesses."""

from collections.abc import AsyncIterator

import httpx
import pytest

from gateway.edge import edge_app, serve_edge
from gateway.settings import EdgeSettings
from gateway.upstreams import Upstreams

# Nobody listens on port 1 of this machine.
DEAD = EdgeSettings({"identity": "127.0.0.1:1", "customer": "127.0.0.1:1"}, 0, 0)


@pytest.fixture
async def edge() -> AsyncIterator[httpx.AsyncClient]:
    async with Upstreams(DEAD.services) as upstreams:
        transport = httpx.ASGITransport(edge_app(DEAD, upstreams))
        async with httpx.AsyncClient(transport=transport, base_url="http://edge") as client:
            yield client


async def test_readiness_lists_what_is_down(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {
        "status": "not ready",
        "services": {"identity": "not serving", "customer": "not serving"},
        "key_set": "not available",
    }
    assert (await edge.get("/healthz")).status_code == 200


async def test_without_identity_keys_are_neither_valid_nor_invalid(
    edge: httpx.AsyncClient,
) -> None:
    headers = {"authorization": "Bearer crm_test_valid"}
    assert (await edge.get("/_check/v1/accounts", headers=headers)).status_code == 503
    assert (await edge.get("/.well-known/jwks.json")).status_code == 503


async def test_a_key_that_cannot_be_one_is_refused_unasked(edge: httpx.AsyncClient) -> None:
    for key in ("crm_" + "x" * 500, "crm_\u00e9"):
        headers = {"authorization": f"Bearer {key}".encode("latin-1")}
        answer = await edge.get("/_check/v1/accounts", headers=headers)
        assert answer.status_code == 401


async def test_an_unknown_page_is_a_status(edge: httpx.AsyncClient) -> None:
    answer = await edge.get("/nothing")
    assert answer.status_code == 404
    assert answer.json()["details"][0]["reason"] == "ROUTE_NOT_FOUND"


async def test_a_taken_port_is_an_error_that_can_be_caught(ports: list[int]) -> None:
    http_port, grpc_port, other = ports
    async with serve_edge(EdgeSettings(DEAD.services, http_port, grpc_port)):
        taken = EdgeSettings(DEAD.services, http_port, other)
        with pytest.raises(OSError, match="in use"):
            async with serve_edge(taken):
                pytest.fail("two edges on one port")
        taken = EdgeSettings(DEAD.services, other, grpc_port)
        with pytest.raises(OSError, match=str(grpc_port)):
            async with serve_edge(taken):
                pytest.fail("two edges on one port")
