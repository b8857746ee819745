"""A merge is heard of although whoever hears of it dies, before, while or after applying it."""

import asyncio
import signal
from typing import Any
from uuid import uuid4

import httpx
import pytest

from crmkit.testing import eventually

from .cluster import Cluster


async def post(http: httpx.AsyncClient, path: str, body: dict[str, Any]) -> Any:
    answer = await http.post(path, json=body)
    assert answer.status_code == httpx.codes.OK, answer.text
    return answer.json()


@pytest.mark.parametrize("point", ["", "consumer-before-commit:1", "consumer-before-ack:1"])
async def test_a_kill_between_a_merge_and_its_consumption_loses_nothing(
    cluster: Cluster, http: httpx.AsyncClient, point: str
) -> None:
    """INVARIANT: references follow a merge and its undoing, whenever a consumer dies."""
    kept, gone = [
        (await post(http, "/v1/accounts", {"display_name": f"Acme {uuid4()}"}))["name"]
        for _ in range(2)
    ]
    body = {"display_name": "Deal", "account": gone}
    deal = (await post(http, "/v1/opportunities", body))["name"]

    async def refers_to(account: str) -> bool:
        return bool((await http.get(f"/v1/{deal}")).json()["account"] == account)

    async def survive(path: str, body: dict[str, Any]) -> None:
        if point:
            child = await cluster.restart("deals", point)
            await post(http, path, body)
            code = await asyncio.to_thread(child.ends, 20)
            assert code == -signal.SIGKILL, child.output()[-2000:]
        else:
            cluster.child("deals").kill()
            await post(http, path, body)
        await cluster.restart("deals")

    await survive(f"/v1/{kept}:merge", {"losers": [gone]})
    await eventually(lambda: refers_to(kept))
    await survive(f"/v1/{kept}:unmerge", {})
    await eventually(lambda: refers_to(gone))
