"""Context: who asked for what, by when, and how it went."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import structlog
from prometheus_client import Counter, Gauge, Histogram

from crmkit import clock
from crmkit.access import ANONYMOUS
from crmkit.call import Call, Home
from crmkit.contract import Method
from crmkit.db import Transaction
from crmkit.errors import ResourceExhausted
from crmkit.ids import uuid7

REQUESTS = Counter("crm_requests_total", "Requests by method and status", ["method", "status"])
SECONDS = Histogram("crm_request_seconds", "Duration of requests", ["method"])
IN_FLIGHT = Gauge("crm_requests_in_flight", "Requests being answered")

MAX_SECONDS = 30.0  # a call without a deadline gets this one
_MAX_IN_FLIGHT = 128
_MAX_STREAMS = 1000
_log = structlog.get_logger("crm.request")


class Admission:
    """Refuses work beyond what the process can do, at once rather than by a time-out."""

    def __init__(self) -> None:
        self.unary = 0
        self.streams = 0

    @contextmanager
    def admit(self, method: Method) -> Iterator[None]:
        """Counts a request in and out; raises ResourceExhausted when there are too many."""
        if method.server_streaming:
            with self._count("streams", _MAX_STREAMS):
                yield
        else:
            with self._count("unary", _MAX_IN_FLIGHT):
                yield

    @contextmanager
    def _count(self, kind: str, limit: int) -> Iterator[None]:
        current: int = getattr(self, kind)
        if current >= limit:
            msg = "Too many requests at once."
            raise ResourceExhausted(msg, retry_after=0.5)
        setattr(self, kind, current + 1)
        try:
            yield
        finally:
            setattr(self, kind, getattr(self, kind) - 1)


def call_of(method: Method, context: Any, home: Home) -> Call:
    """The call of a request: its metadata and its request id, from the caller or new."""
    pairs = context.invocation_metadata() or ()
    metadata = {key: value for key, value in pairs if isinstance(value, str)}
    return Call(
        home=home,
        principal=ANONYMOUS,
        now=clock.now(),
        tx=Transaction(home.database),
        correlation_id=metadata.get("x-request-id", "")[:100] or str(uuid7()),
        traceparent=metadata.get("traceparent", "")[:100],
        method=method,
        metadata=metadata,
    )


def seconds_left(context: Any) -> float:
    """How long the request may take: the caller's deadline, at most our own."""
    remaining = context.time_remaining()
    return MAX_SECONDS if remaining is None else min(remaining, MAX_SECONDS)


class Outcome:
    """How a request went; recorded in metrics and, where it failed, in the log."""

    def __init__(self, method: Method) -> None:
        self.method = method
        self.started = time.perf_counter()
        self.status = grpc.StatusCode.OK.name

    def finish(self, call: Call | None) -> None:
        """Records the outcome; ids only, never what was sent."""
        seconds = time.perf_counter() - self.started
        REQUESTS.labels(self.method.path, self.status).inc()
        SECONDS.labels(self.method.path).observe(seconds)
        if self.status != "OK":
            _log.info(
                "request refused",
                method=self.method.path,
                status=self.status,
                request_id=call.correlation_id if call else "",
                principal=call.principal.name if call else "",
                milliseconds=round(seconds * 1000, 1),
            )
