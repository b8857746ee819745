"""A lead's conversion is killed at every step, and ends in one result, or in none with its reason.

INVARIANT: nobody who was answered sees another result later, nothing is made twice, nothing is left behind.
"""

import asyncio
import contextlib
import signal
from typing import Any
from uuid import uuid4

import httpx
import psycopg
import pytest

from crmkit.testing import eventually

from .cluster import Cluster

# Where the service dies, and whether the conversion then goes on by itself or because somebody asks again.
POINTS = [
    ("conversion-before-start", False), ("conversion-before-customer", True),
    ("conversion-after-customer", False), ("conversion-before-commit", True),
    ("conversion-after-commit", False),
]  # fmt: skip


async def _qualified(http: httpx.AsyncClient, company: str) -> str:
    body = {"company": company, "family_name": "Lumbergh"}
    name = (await http.post("/v1/leads", json=body)).json()["name"]
    answer = await http.post(f"/v1/{name}:qualify", json={})
    assert answer.json()["state"] == "QUALIFIED", answer.text
    return str(name)


async def _found(http: httpx.AsyncClient, collection: str, filter_: str) -> list[Any]:
    answer = await http.get(f"/v1/{collection}", params={"filter": filter_})
    assert answer.status_code == httpx.codes.OK, answer.text
    return list(answer.json().get(collection, []))


def _hurry(cluster: Cluster) -> None:
    """The job that finishes what somebody else began need not wait."""
    with psycopg.connect(cluster.postgres.url("sales")) as connection:
        connection.execute("UPDATE job SET due_time = now() WHERE kind = 'convert_lead'")


async def _killed(
    cluster: Cluster, http: httpx.AsyncClient, lead: str, point: str, **body: Any
) -> None:
    """Converts a lead while the service dies at a point; then it runs again."""
    service = await cluster.restart("serve", f"{point}:1")
    await cluster.reachable()
    with contextlib.suppress(httpx.TransportError):
        await http.post(f"/v1/{lead}:convert", json=body)
    assert await asyncio.to_thread(service.ends, 20) == -signal.SIGKILL
    await cluster.restart("serve")
    await cluster.reachable()


@pytest.mark.parametrize(("point", "by_itself"), POINTS)
async def test_a_killed_conversion_ends_in_one_result(
    cluster: Cluster,
    http: httpx.AsyncClient,
    point: str,
    by_itself: bool,  # noqa: FBT001 - a parameter of the test
) -> None:
    """Ten who ask again at once get one answer; and if nobody asks, the service goes on by itself."""
    company = f"Initech {uuid4()}"
    lead = await _qualified(http, company)
    await _killed(cluster, http, lead, point)
    if by_itself:
        _hurry(cluster)

        async def converted() -> bool:
            return bool((await http.get(f"/v1/{lead}")).json()["state"] == "CONVERTED")

        await eventually(converted)
    answers = await asyncio.gather(
        *(http.post(f"/v1/{lead}:convert", json={"request_id": str(uuid4())}) for _ in range(10))
    )
    assert {a.status_code for a in answers} == {httpx.codes.OK}, [a.text for a in answers]
    results = {tuple(a.json()[n] for n in ("account", "contact", "opportunity")) for a in answers}
    ((account, contact, opportunity),) = results
    assert [a["name"] for a in await _found(http, "accounts", f'display_name = "{company}"')] == [
        account
    ]
    assert [c["name"] for c in await _found(http, "contacts", f'account = "{account}"')] == [
        contact
    ]
    listed = await _found(http, "opportunities", f'account = "{account}"')
    assert [o["name"] for o in listed] == [opportunity]


async def test_a_killed_conversion_that_cannot_be_finished_leaves_nothing(
    cluster: Cluster, http: httpx.AsyncClient
) -> None:
    """The account is made already when its pipeline goes: it is taken back, and the lead says why."""
    company = f"Globex {uuid4()}"
    stages = [
        {"display_name": "Open", "category": "OPEN"}, {"display_name": "Won", "category": "WON"},
        {"display_name": "Lost", "category": "LOST"},
    ]  # fmt: skip
    body = {"display_name": f"P {uuid4()}", "stages": stages}
    pipeline = (await http.post("/v1/pipelines", json=body)).json()["name"]
    lead = await _qualified(http, company)
    await _killed(cluster, http, lead, "conversion-after-customer", pipeline=pipeline)
    (account,) = [a["name"] for a in await _found(http, "accounts", f'display_name = "{company}"')]
    assert (await http.delete(f"/v1/{pipeline}")).status_code == httpx.codes.OK
    _hurry(cluster)

    async def undone() -> Any:
        read = (await http.get(f"/v1/{lead}")).json()
        return read if read["state"] == "QUALIFIED" else None

    assert (await eventually(undone))["conversion_error"] == "REFERENCE_DELETED"
    assert await _found(http, "accounts", f'display_name = "{company}"') == []
    assert (
        await _found(http, "contacts", f'display_name = "Lumbergh" AND account = "{account}"') == []
    )
