"""Context: who asked for what, by when, and how it went."""

import time
from typing import Any

import structlog
from prometheus_client import Counter, Histogram

from crmkit import clock, telemetry
from crmkit.access import ANONYMOUS
from crmkit.call import Call, Home
from crmkit.contract import Method
from crmkit.db import Transaction
from crmkit.errors import ResourceExhausted
from crmkit.ids import uuid7

REQUESTS = Counter("crm_requests_total", "Requests by method and status", ["method", "status"])
SECONDS = Histogram("crm_request_seconds", "Duration of requests", ["method"])

MAX_SECONDS = 30.0  # a call without a deadline gets this one
# At the deadline gRPC itself ends the call with a bare status: our answer, which says why, comes before.
_SECONDS_TO_ANSWER = 0.1
_MAX_IN_FLIGHT = 128
_MAX_STREAMS = 1000
_log = structlog.get_logger("crm.request")


class Admission:
    """Refuses work beyond what the process can do, at once rather than by a time-out."""

    def __init__(self) -> None:
        self._unary = 0
        self._streams = 0

    def enter(self, method: Method) -> None:
        """Counts a request in; raises ResourceExhausted when there are too many."""
        if method.server_streaming:
            self._refuse(self._streams, _MAX_STREAMS)
            self._streams += 1
        else:
            self._refuse(self._unary, _MAX_IN_FLIGHT)
            self._unary += 1

    def leave(self, method: Method) -> None:
        """Counts a request out that was counted in."""
        if method.server_streaming:
            self._streams -= 1
        else:
            self._unary -= 1

    def _refuse(self, current: int, limit: int) -> None:
        if current >= limit:
            msg = "Too many requests at once."
            raise ResourceExhausted(msg, retry_after=0.5)


def call_of(method: Method, context: Any, home: Home) -> Call:
    """The call of a request: its metadata and its request id, from the caller or new."""
    pairs = context.invocation_metadata() or ()
    metadata = {key: value for key, value in pairs if isinstance(value, str)}
    call = Call(
        home=home,
        principal=ANONYMOUS,
        now=clock.now(),
        tx=Transaction(home.database),
        correlation_id=metadata.get("x-request-id", "")[:100] or str(uuid7()),
        traceparent=metadata.get("traceparent", "")[:100],
        source=metadata.get("x-source", "")[:63],
        method=method,
        metadata=metadata,
    )
    telemetry.request_began(method.path, call)
    return call


def seconds_left(context: Any) -> float:
    """How long the request may take: until just before the caller's deadline, at most our own."""
    remaining: float | None = context.time_remaining()
    if remaining is None:
        return MAX_SECONDS
    return min(max(remaining - _SECONDS_TO_ANSWER, remaining / 2), MAX_SECONDS)


class Recorder:
    """Records how the requests of one method went, in metrics and, where they failed, in the log."""

    def __init__(self, method: Method) -> None:
        self._path = method.path
        self._seconds = SECONDS.labels(method.path)
        self._ok = REQUESTS.labels(method.path, "OK")

    def record(self, started: float, status: str, call: Call) -> None:
        """Records an outcome: ids only, never what was sent."""
        seconds = time.perf_counter() - started
        telemetry.request_ended(call, status)
        self._seconds.observe(seconds)
        if status == "OK":
            self._ok.inc()
            return
        REQUESTS.labels(self._path, status).inc()
        _log.info(
            "request refused",
            method=self._path,
            status=status,
            request_id=call.correlation_id,
            principal=call.principal.name,
            milliseconds=round(seconds * 1000, 1),
        )
