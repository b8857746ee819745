"""One part of one service dies at the worst moment, over a real broker.

INVARIANT: events are neither lost nor doubled nor reordered, and reports equal what the sources hold.
"""

import asyncio
import contextlib
import signal
import time

import aio_pika
import httpx
import psycopg
import pytest

from crmkit.ids import uuid7
from crmkit.testing import eventually
from crmkit.testing.rabbitmq import RabbitMQ

from .cluster import Cluster
from .invariants import require_invariants, rows
from .ledger import Ledger
from .processes import Child

SEED = 20261125


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return Ledger(SEED)


async def _dies(child: Child) -> None:
    code = await asyncio.to_thread(child.ends, 20)
    assert code == -signal.SIGKILL, child.output()[-2000:]


@pytest.mark.parametrize("point", ["sequencer-before-commit:5", "publisher-after-confirm:5"])
async def test_a_killed_relay_loses_and_doubles_nothing(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient, point: str
) -> None:
    """F2: first in the middle of whatever it does, then at a point of the code."""
    async with ledger.load(http, 20):
        cluster.child("relay").kill()
    relay = await cluster.restart("relay", point)
    async with ledger.load(http, 20):
        await _dies(relay)
    await cluster.restart("relay")
    await require_invariants(cluster)
    await ledger.require_reported(http)


@pytest.mark.parametrize("point", ["consumer-before-commit:3", "consumer-before-ack:3"])
async def test_a_killed_consumer_applies_every_event_once(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient, point: str
) -> None:
    """F4: anywhere; then between applying and committing, or committing and acknowledging."""
    async with ledger.load(http, 20):
        cluster.child("consume").kill()
    consumer = await cluster.restart("consume", point)
    async with ledger.load(http, 20):
        await _dies(consumer)
    await cluster.restart("consume")
    await require_invariants(cluster)
    await ledger.require_reported(http)


@pytest.mark.parametrize("point", ["service-before-commit:30", "service-after-commit:30"])
async def test_a_killed_service_keeps_what_it_acknowledged_and_takes_repeats(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient, point: str
) -> None:
    """F1, G7: a write in doubt is repeated with its request id and is there once."""
    service = await cluster.restart("serve", point)
    await cluster.reachable()
    async with ledger.load(http, 20):
        await _dies(service)
    assert ledger.doubtful
    await cluster.restart("serve")
    await cluster.reachable()
    await ledger.repeat_doubtful(http)
    await ledger.require_all_there(http)
    await require_invariants(cluster)


async def test_a_killed_broker_delays_nothing_for_long_and_loses_nothing(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient, rabbitmq: RabbitMQ
) -> None:
    """F5, F6: writes go on, reports are pulled meanwhile, publishing resumes by itself."""
    async with ledger.load(http, 40):
        await asyncio.to_thread(rabbitmq.kill)
    async with ledger.load(http, 40):
        pass
    assert not ledger.doubtful, "writes must not notice"
    await ledger.require_reported(http)
    await asyncio.to_thread(rabbitmq.start)
    await require_invariants(cluster)


async def test_a_deleted_queue_is_made_again_and_what_it_held_is_pulled(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient, rabbitmq: RabbitMQ
) -> None:
    """F8."""
    async with ledger.load(http, 40), await aio_pika.connect(rabbitmq.url) as connection:
        channel = await connection.channel()
        await channel.queue_delete("reporting.sales")
    await require_invariants(cluster)
    await ledger.require_reported(http)


async def test_a_killed_database_comes_back_with_everything(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """F7: every pool, sequencer and consumer finds back by itself."""
    async with ledger.load(http, 40):
        await asyncio.to_thread(cluster.kill_postgres)

    async def one_more() -> bool:
        return await ledger.one(http)

    await eventually(one_more, timeout=30)
    await ledger.repeat_doubtful(http)
    await ledger.require_all_there(http)
    await require_invariants(cluster)


async def test_sigterm_answers_what_it_has_accepted(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """F22: a call that is refused has changed nothing: it was never accepted."""
    service = cluster.child("serve")
    async with ledger.load(http, 30):
        began = time.monotonic()
        service.signal(signal.SIGTERM)
        code = await asyncio.to_thread(service.ends)
    assert (code, time.monotonic() - began < 10) == (0, True), service.output()[-2000:]
    await cluster.restart("serve")
    await cluster.reachable()
    await ledger.require_all_there(http)
    await ledger.repeat_doubtful(http)


async def test_facts_equal_a_rebuild_after_all_that(
    cluster: Cluster, ledger: Ledger, http: httpx.AsyncClient
) -> None:
    """G6: hash for hash."""
    await require_invariants(cluster)
    await ledger.require_reported(http)
    await ledger.require_rebuild_equal(http)
    assert rows(cluster, "reporting", "SELECT count(*) FROM fact_opportunity") == [
        (len(ledger.created),)
    ]


async def test_a_killed_worker_of_rules_does_everything_once(
    cluster: Cluster, http: httpx.AsyncClient
) -> None:
    """It dies after another service did what a rule asked for, and before that was noted."""
    mark = f"Rule {uuid7()}"
    rule = {
        "display_name": mark,
        "event_types": ["sales.opportunity.created"],
        "condition": f"record.display_name == '{mark}'",
        "actions": [
            {"create_record": {"resource": "tickets", "values": {"subject": mark}}},
            {"notify": {"recipient": "RULE_OWNER", "text": mark}},
        ],
    }
    made = (await http.post("/v1/rules", json=rule)).json()
    worker = await cluster.restart("rules", "rule-before-note:1")
    await http.post("/v1/opportunities", json={"display_name": mark})
    await _dies(worker)

    async def counted() -> tuple[int, int, int]:
        found = []
        for path, wanted in (
            ("tickets", f'subject = "{mark}"'),
            ("notifications", "kind = RULE"),
            (f"{made['name']}/runs", "state = SUCCEEDED"),
        ):
            answer = (await http.get(f"/v1/{path}", params={"filter": wanted})).json()
            found.append(len(answer.get(path.rpartition("/")[2], [])))
        return found[0], found[1], found[2]

    assert await counted() == (1, 0, 0)
    await cluster.restart("rules")

    async def done() -> bool:
        return (await counted())[2] == 1

    await eventually(done, timeout=60)  # the dead worker's lease ends first
    assert await counted() == (1, 1, 1)


@pytest.mark.parametrize("point", ["attachment-after-bytes:3", "attachment-before-commit:3"])
async def test_a_killed_service_leaves_no_row_without_bytes_and_no_bytes_without_an_end(
    cluster: Cluster, http: httpx.AsyncClient, point: str
) -> None:
    """It dies when the third file's bytes are kept, or when its row is about to be committed."""
    await cluster.reachable()  # again, after what died before
    record = (await http.post("/v1/opportunities", json={"display_name": "Ten"})).json()["name"]
    service = await cluster.restart("serve", point)
    await cluster.reachable()
    acknowledged = set()
    with contextlib.suppress(httpx.TransportError):
        for number in range(3):
            path = f"/v1/{record}/attachments?file_name={number}.txt"
            answer = await http.post(path, content=b"text " * 100_000)
            if answer.status_code == httpx.codes.OK:
                acknowledged.add(answer.json()["name"].rpartition("/")[2])
    await _dies(service)
    await cluster.restart("serve")
    files, attached, jobs = _files(cluster), _ids(cluster, "attachment"), _ids(cluster, "job")
    assert len(acknowledged) == 2
    assert acknowledged <= attached < files
    assert files == attached | jobs
    with psycopg.connect(cluster.postgres.url("sales")) as connection:
        connection.execute("UPDATE job SET due_time = now() WHERE kind = 'remove_attachment'")
    await eventually(lambda: _files(cluster) == attached)
    assert _ids(cluster, "attachment") == attached


def _files(cluster: Cluster) -> set[str]:
    return {path.name for path in cluster.attachments.glob("sales/*/*")}


def _ids(cluster: Cluster, table: str) -> set[str]:
    wanted = " WHERE kind = 'remove_attachment'" if table == "job" else ""
    return {id_ for (id_,) in rows(cluster, "sales", f"SELECT id::text FROM {table}{wanted}")}
