"""What must hold after every fault, read from the databases themselves."""

from itertools import groupby
from typing import Any

import psycopg

from crmkit.feed.events import LOG_COLUMNS, chain_of, from_row
from crmkit.testing import eventually

from .cluster import Cluster

_COLUMNS = ", ".join(LOG_COLUMNS)
_OF_THE_SOURCE = """
    SELECT id::text, state, amount::numeric(19,4)::text, amount_currency, owner::text
    FROM opportunities ORDER BY id
"""
_OF_THE_FACTS = """
    SELECT id::text, state, amount::numeric(19,4)::text, currency, owner::text
    FROM fact_opportunity WHERE NOT deleted ORDER BY id
"""


def rows(cluster: Cluster, service: str, query: str) -> list[Any]:
    """What a service's database answers."""
    with psycopg.connect(cluster.postgres.url(service)) as connection:
        return connection.execute(query).fetchall()


async def require_invariants(cluster: Cluster) -> None:
    """Everything is sequenced, published and applied; nothing is missing, doubled or out of order."""
    await eventually(lambda: _settled(cluster), timeout=40)
    events = [from_row(row) for row in rows(cluster, "sales", _log())]
    assert [event.feed_seq for event in events] == list(range(1, len(events) + 1)), "not dense"
    chain = b""
    for event in events:
        assert event.chain == (chain := chain_of(chain, event)), f"chain broken at {event.feed_seq}"
    for subject, history in groupby(sorted(events, key=lambda e: e.subject), lambda e: e.subject):
        versions = [event.subject_version for event in history]
        distinct = sorted(set(versions))
        assert versions == sorted(versions), f"{subject} out of order: {versions}"
        assert distinct == list(range(1, len(distinct) + 1)), f"{subject}: {versions}"
    assert rows(cluster, "reporting", "SELECT * FROM parked_event") == []
    assert rows(cluster, "reporting", _OF_THE_FACTS) == rows(cluster, "sales", _OF_THE_SOURCE)


def _log() -> str:
    return f"SELECT {_COLUMNS} FROM event_log ORDER BY feed_seq"


def _settled(cluster: Cluster) -> bool:
    """Outbox empty, everything published, reporting's cursor at the end."""
    [(waiting,)] = rows(cluster, "sales", "SELECT count(*) FROM outbox")
    [(last, published)] = rows(cluster, "sales", "SELECT last_seq, published_seq FROM relay_state")
    cursors = dict(rows(cluster, "reporting", "SELECT source, applied_seq FROM consumer_cursor"))
    return bool(waiting == 0 and last == published == cursors.get("sales", 0))
