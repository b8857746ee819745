"""How far the facts are behind what has happened in the services."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from crmkit.call import Home
from crmkit.consumer_status import ConsumerState
from crmkit.statements import Statement
from reporting.projections.handlers import sources

# Consumers compare with their source every second or two: after this it counts as out of reach.
_LATE = timedelta(seconds=10)
_READ = Statement("SELECT source, update_time FROM consumer_cursor", {})


@dataclass(frozen=True)
class Freshness:
    """How far the facts are behind.

    Attributes:
        data_time: Everything recorded up to this instant is included; None before the first event.
        lag: How long ago that was.
        partial_sources: The services whose latest events could not be had.
    """

    data_time: datetime | None
    lag: timedelta
    partial_sources: tuple[str, ...]


async def freshness(home: Home, now: datetime) -> Freshness:
    """How far the facts are behind; ask before reading them, so that it promises too little."""
    times = await data_times(home)
    late = [
        source
        for source in sources()
        if (time := times.get(source)) is None or now - time > _LATE or _diverged(home, source)
    ]
    known = [time for time in times.values() if time is not None]
    oldest = min(known, default=None)
    lag = max(now - oldest, timedelta(0)) if oldest else timedelta(0)
    return Freshness(oldest, lag, tuple(late))


async def data_times(home: Home) -> Mapping[str, datetime | None]:
    """Source → up to when its events are included.

    A process that consumes knows it from comparing with the source; another one knows only when the
    last event was applied.
    """
    if home.consumed:
        return {s: c.data_time for s, c in home.consumed.items() if s in sources()}
    return {row[0]: row[1] for row in await home.database.fetch_all(_READ) if row[0] in sources()}


def _diverged(home: Home, source: str) -> bool:
    status = home.consumed.get(source)
    return status is not None and status.state is ConsumerState.DIVERGED
