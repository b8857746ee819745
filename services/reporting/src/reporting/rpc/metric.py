"""MetricService."""

from datetime import UTC, datetime

from google.protobuf.timestamp_pb2 import Timestamp

from crm.reporting.v1 import metric_pb2 as pb
from crmkit.call import Call
from crmkit.errors import InvalidArgument, NotFound
from crmkit.organization import time_zones
from reporting.queries.datasets import REFERENCES
from reporting.queries.freshness import freshness
from reporting.queries.labels import labels
from reporting.queries.metrics import METRICS, Metric
from reporting.queries.query import Answer, Limits, ask
from reporting.queries.statement import Question


class MetricService:
    """`crm.reporting.v1.MetricService`."""

    async def ListMetrics(
        self, request: pb.ListMetricsRequest, call: Call
    ) -> pb.ListMetricsResponse:
        """The catalogue."""
        return pb.ListMetricsResponse(metrics=[_message(metric) for metric in METRICS.values()])

    async def GetMetric(self, request: pb.GetMetricRequest, call: Call) -> pb.Metric:
        """One definition."""
        metric = METRICS.get(request.name.removeprefix("metrics/"))
        if metric is None or not request.name.startswith("metrics/"):
            msg = f"There is no metric {request.name}."
            raise NotFound(msg)
        return _message(metric)

    async def QueryMetrics(
        self, request: pb.QueryMetricsRequest, call: Call
    ) -> pb.QueryMetricsResponse:
        """Metrics over the records the caller may see."""
        assert call.method is not None
        limits = _limits(request, call.organization.time_zone)
        question = Question(
            metrics=tuple(request.metrics),
            group_by=tuple(request.group_by),
            filter=request.filter,
            scope=call.principal.require(call.method.permission),
            starts=limits.start_time is not None,
            ends=limits.end_time is not None,
        )
        fresh = await freshness(call.home, call.now)
        answer = await ask(call.home.database, call.principal, question, limits, call.now)
        response = _response(question, answer)
        response.time_zone = limits.time_zone
        response.partial_sources.extend(fresh.partial_sources)
        if fresh.data_time is not None:
            response.data_time.FromDatetime(fresh.data_time)
            response.lag.FromTimedelta(fresh.lag)
        response.labels.update(await labels(call, _names(question, answer)))
        return response


def _message(metric: Metric) -> pb.Metric:
    return pb.Metric(
        name=f"metrics/{metric.id}",
        display_name=metric.display_name,
        description=metric.description,
        unit=metric.unit,
        dimensions=metric.dataset.dimension_names(),
    )


def _limits(request: pb.QueryMetricsRequest, default_zone: str) -> Limits:
    zone = request.time_zone or default_zone
    if zone not in time_zones():
        msg = "time_zone must be a name of the IANA time zone database, such as Europe/Berlin."
        raise InvalidArgument(msg, reason="UNKNOWN_TIME_ZONE", field="time_zone")
    span = request.time_range
    start = _time(span.start_time, "start_time") if span.HasField("start_time") else None
    end = _time(span.end_time, "end_time") if span.HasField("end_time") else None
    if start is not None and end is not None and end < start:
        msg = "time_range.end_time must not be before time_range.start_time"
        raise InvalidArgument(msg, field="time_range.end_time")
    return Limits(start, end, request.currency_code, zone)


def _time(timestamp: Timestamp, name: str) -> datetime:
    try:
        return timestamp.ToDatetime(tzinfo=UTC)
    except (ValueError, OverflowError):
        msg = f"time_range.{name} must lie in the years 1 to 9999"
        raise InvalidArgument(msg, field=f"time_range.{name}") from None


def _response(question: Question, answer: Answer) -> pb.QueryMetricsResponse:
    rows = [
        pb.QueryMetricsResponse.Row(
            dimensions=dict(zip(question.group_by, group, strict=True)), values=values
        )
        for group, values in answer.rows
    ]
    return pb.QueryMetricsResponse(rows=rows, currency_code=answer.currency)


def _names(question: Question, answer: Answer) -> set[str]:
    """The resource names among the dimensions' values."""
    places = [i for i, dimension in enumerate(question.group_by) if dimension in REFERENCES]
    return {group[place] for group, _ in answer.rows for place in places}
