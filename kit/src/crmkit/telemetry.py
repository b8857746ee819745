"""Traces by OpenTelemetry, from a request over its events to what consumers make of them.

Off unless `start_tracing` is called, and then nothing is created and nothing imported. A trace is
carried as W3C `traceparent`: in metadata, in each `Call`, and in each event.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from crmkit.call import Call

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import SpanProcessor
    from opentelemetry.trace import Span, Tracer

_tracer: "Tracer | None" = None
# Statuses that are our fault; all others are the caller's, and no errors of ours.
_FAULTS = frozenset({"INTERNAL", "UNKNOWN", "DATA_LOSS", "UNAVAILABLE", "DEADLINE_EXCEEDED"})


def start_tracing(process: str, endpoint: str) -> None:
    """Sends the spans of this process to a collector, by OTLP over gRPC.

    Args:
        process: What the process is, as collectors show it: `sales`, `crm up`.
        endpoint: Where the collector listens, `http://host:port`.
    """
    from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import (  # noqa: PLC0415 - off by default
        OTLPSpanExporter,
    )
    from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: PLC0415 - off by default

    insecure = not endpoint.startswith("https://")
    trace_to(process, BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, insecure=insecure)))


def trace_to(process: str, processor: "SpanProcessor") -> None:
    """Hands every span of this process to a processor."""
    from opentelemetry.sdk.resources import Resource  # noqa: PLC0415 - off by default
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415 - off by default

    global _tracer  # noqa: PLW0603 - one for the process
    provider = TracerProvider(resource=Resource.create({"service.name": process}))
    provider.add_span_processor(processor)
    _tracer = provider.get_tracer("crm")


def stop_tracing() -> None:
    """Creates no more spans."""
    global _tracer  # noqa: PLW0603 - one for the process
    _tracer = None


def request_began(method: str, call: Call) -> None:
    """Begins the span of a request; what the request causes belongs to it."""
    if _tracer is not None:
        from opentelemetry.trace import SpanKind  # noqa: PLC0415 - off by default

        call.span = _begin(_tracer, method.removeprefix("/"), call, SpanKind.SERVER)


def request_ended(call: Call, status: str) -> None:
    """Ends the span of a request with its outcome, a status's name."""
    if call.span is not None:
        call.span.set_attribute("rpc.grpc.status", status)
        _end(call.span, failed=status in _FAULTS)


@contextmanager
def work(name: str, call: Call, **attributes: str | int) -> Iterator[None]:
    """A span around a job, or around what a handler does with an event.

    Args:
        name: `job import`, or the event's routing key.
        call: The piece of work; it continues the trace it carries.
        attributes: What else is known.
    """
    if _tracer is None:
        yield
        return
    from opentelemetry.trace import SpanKind  # noqa: PLC0415 - off by default

    span = _begin(_tracer, name, call, SpanKind.CONSUMER)
    span.set_attributes(attributes)
    failed = True
    try:
        yield
        failed = False
    finally:
        _end(span, failed=failed)


def _begin(tracer: "Tracer", name: str, call: Call, kind: Any) -> "Span":
    """A span below the call's trace; from now on the call carries the span."""
    from opentelemetry.context import Context  # noqa: PLC0415 - off by default
    from opentelemetry.trace.propagation.tracecontext import (  # noqa: PLC0415 - off by default
        TraceContextTextMapPropagator,
    )

    propagator = TraceContextTextMapPropagator()
    parent = propagator.extract({"traceparent": call.traceparent}, Context())
    attributes = {"crm.service": call.home.name, "crm.request_id": call.correlation_id}
    span = tracer.start_span(name, parent, kind, attributes)
    seen = span.get_span_context()
    call.traceparent = f"00-{seen.trace_id:032x}-{seen.span_id:016x}-{seen.trace_flags:02x}"
    return span


def _end(span: "Span", *, failed: bool) -> None:
    if failed:
        from opentelemetry.trace import StatusCode  # noqa: PLC0415 - off by default

        span.set_status(StatusCode.ERROR)
    span.end()
