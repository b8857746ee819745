"""One trace shows what a request caused, in whatever service.

INVARIANT: the request's trace id is on every span from REST to the last consumer.
"""

from collections.abc import Iterator
from uuid import uuid4

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from crmkit import telemetry
from crmkit.testing import eventually

from .conftest import RunningSystem

WIN = "crm.sales.v1.OpportunityService/WinOpportunity"


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    """Every span of this process while the test runs."""
    exporter = InMemorySpanExporter()
    telemetry.trace_to("test", SimpleSpanProcessor(exporter))
    yield exporter
    telemetry.stop_tracing()


async def test_one_trace_leads_from_a_rest_call_over_its_event_to_the_consumers(
    crm: RunningSystem, spans: InMemorySpanExporter
) -> None:
    """REST → gRPC → sales.opportunity.won → customer → customer.account.won → reporting."""
    account = await crm.admin.post("/v1/accounts", {"display_name": f"Acme {uuid4()}"})
    opportunity = await crm.admin.post(
        "/v1/opportunities", {"display_name": "Deal", "account": account["name"]}
    )
    trace, caller = uuid4().hex, uuid4().hex[:16]
    answer = await crm.admin.http.post(
        f"/v1/{opportunity['name']}:win",
        json={},
        headers={"traceparent": f"00-{trace}-{caller}-01", "x-request-id": "request-1"},
    )
    assert answer.is_success, answer.text

    def found() -> dict[tuple[str, str], ReadableSpan]:
        ours = [s for s in spans.get_finished_spans() if f"{s.context.trace_id:032x}" == trace]
        return {(str((s.attributes or {})["crm.service"]), s.name): s for s in ours}

    chain = [
        ("sales", WIN),
        ("customer", "sales.opportunity.won"),
        ("reporting", "customer.account.won"),
    ]
    await eventually(lambda: set(chain) <= set(found()), timeout=10)
    request, conversion, report = (found()[key] for key in chain)
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == caller
    assert dict(request.attributes or {}) == {
        "crm.service": "sales",
        "crm.request_id": answer.headers["x-request-id"],
        "rpc.grpc.status": "OK",
    }
    assert conversion.parent is not None
    assert conversion.parent.span_id == request.context.span_id
    assert report.parent is not None
    assert report.parent.span_id == conversion.context.span_id


async def test_a_refused_request_is_no_fault_of_ours(
    crm: RunningSystem, spans: InMemorySpanExporter
) -> None:
    trace = uuid4().hex
    headers = {"traceparent": f"00-{trace}-{uuid4().hex[:16]}-01"}
    answer = await crm.admin.http.get(f"/v1/accounts/{uuid4()}", headers=headers)
    assert answer.status_code == 404

    def found() -> list[ReadableSpan]:
        return [s for s in spans.get_finished_spans() if f"{s.context.trace_id:032x}" == trace]

    # A refusal is sent before its span ends.
    [span] = await eventually(found)
    assert (span.attributes or {})["rpc.grpc.status"] == "NOT_FOUND"
    assert span.status.is_ok or span.status.is_unset
