"""How the feed and its consumers stand, as Prometheus gauges.

A loop looks every few seconds, so that a scrape costs nothing. While the database is away the last
values stay; `crm_feed_measured_seconds` tells their age.
"""

import asyncio
import time
from contextlib import suppress

import psycopg
import structlog
from prometheus_client import Gauge

from crmkit.call import Home
from crmkit.clock import now
from crmkit.consumer_status import ConsumerState, ConsumerStatus
from crmkit.errors import Failure
from crmkit.feed.faults import describe
from crmkit.feed.parking import count_parked
from crmkit.statements import Statement

MEASURED = Gauge("crm_feed_measured_seconds", "When these gauges were set, Unix time", ["service"])
OUTBOX_EVENTS = Gauge("crm_outbox_events", "Events without a number yet", ["service"])
OUTBOX_AGE = Gauge("crm_outbox_oldest_seconds", "Age of the oldest of them", ["service"])
UNPUBLISHED_EVENTS = Gauge(
    "crm_unpublished_events", "Numbered events that the broker has not confirmed", ["service"]
)
UNPUBLISHED_AGE = Gauge("crm_unpublished_oldest_seconds", "Age of the oldest of them", ["service"])
LAG = Gauge("crm_consumer_lag_events", "Events of a source not applied yet", ["service", "source"])
DATA_AGE = Gauge(
    "crm_consumer_data_age_seconds",
    "Age of the instant up to which a source's events are included",
    ["service", "source"],
)
DIVERGED = Gauge(
    "crm_consumer_diverged", "1 if a source has another feed than before", ["service", "source"]
)
PARKED = Gauge(
    "crm_parked_events", "Events that could not be applied and wait", ["service", "source"]
)

_SECONDS_BETWEEN_LOOKS = 5.0
_log = structlog.get_logger(__name__)
_LOOK_AT_OUTBOX = Statement(
    "SELECT count(*), coalesce(extract(epoch FROM now() - min(time)), 0)::float FROM outbox", {}
)
_LOOK_AT_BROKER = Statement(
    "SELECT last_seq - published_seq,"
    " coalesce(extract(epoch FROM now() - (SELECT time FROM event_log"
    " WHERE feed_seq = published_seq + 1)), 0)::float FROM relay_state",
    {},
)


async def keep_measured(home: Home, stop: asyncio.Event, *, broker: bool) -> None:
    """Sets the gauges every few seconds until told to stop.

    Args:
        home: The running service.
        stop: Ends it.
        broker: Whether there is one; without it nothing is ever published.
    """
    while not stop.is_set():
        try:
            await measure(home, broker=broker)
        except (psycopg.Error, Failure) as error:
            _log.info("gauges_not_set", error=describe(error))
        with suppress(TimeoutError):
            async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                await stop.wait()


async def measure(home: Home, *, broker: bool) -> None:
    """Sets the gauges once; raises if the database is away."""
    events, age = await home.database.fetch_one(_LOOK_AT_OUTBOX) or (0, 0)
    OUTBOX_EVENTS.labels(home.name).set(events)
    OUTBOX_AGE.labels(home.name).set(age)
    if broker:
        events, age = await home.database.fetch_one(_LOOK_AT_BROKER) or (0, 0)
        UNPUBLISHED_EVENTS.labels(home.name).set(events)
        UNPUBLISHED_AGE.labels(home.name).set(age)
    parked = await count_parked(home.database)
    for source, status in home.consumed.items():
        PARKED.labels(home.name, source).set(parked.get(source, 0))
        _measure_consumer(home.name, source, status)
    MEASURED.labels(home.name).set(time.time())


def _measure_consumer(service: str, source: str, status: ConsumerStatus) -> None:
    LAG.labels(service, source).set(max(status.head_seq - status.applied_seq, 0))
    DIVERGED.labels(service, source).set(status.state is ConsumerState.DIVERGED)
    if status.data_time is not None:
        DATA_AGE.labels(service, source).set((now() - status.data_time).total_seconds())
