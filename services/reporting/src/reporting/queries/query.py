"""Answers a question about metrics from the facts that the caller may see."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from decimal import Decimal

from crmkit.access import Principal, scope_parameters
from crmkit.db import Executor
from crmkit.errors import InvalidArgument
from crmkit.money import check_currency
from crmkit.statements import Row
from reporting.queries.metrics import METRICS, Metric
from reporting.queries.statement import MAX_ROWS, Question, statement_of

Group = tuple[str, ...]


@dataclass(frozen=True)
class Limits:
    """The values of a question: its span of time (the end excluded), its currency, its calendar."""

    start_time: datetime | None = None
    end_time: datetime | None = None
    currency: str = ""
    time_zone: str = "UTC"


@dataclass
class Answer:
    """What was found.

    Attributes:
        rows: In the order of their dimensions: the dimensions' values (empty where there is
            nothing), and metric → value as text.
        currency: The currency of all amounts; empty if there are none.
    """

    rows: list[tuple[Group, dict[str, str]]] = field(default_factory=list)
    currency: str = ""


async def ask(
    reader: Executor, principal: Principal, question: Question, limits: Limits, now: datetime
) -> Answer:
    """Computes metrics over the records that the principal may see.

    Raises:
        InvalidArgument: No such metric or dimension, or they do not go together; `INVALID_FILTER`;
            `CURRENCY_REQUIRED` where amounts have several currencies; `TOO_MANY_ROWS`.
    """
    check(question)
    if limits.currency:
        check_currency(limits.currency, field="currency_code")
        question = replace(question, in_currency=True)
    rows = await reader.fetch_all(
        statement_of(question),
        {
            "start_time": limits.start_time,
            "end_time": limits.end_time,
            "currency": limits.currency,
            "time_zone": limits.time_zone,
            "now": now,
            **scope_parameters(principal, question.scope),
        },
    )
    currency = limits.currency or _single_currency(rows)
    return Answer(_merged(question, rows), currency)


def check(question: Question) -> None:
    """Raises InvalidArgument for what is missing, unknown, named twice, or does not go together."""
    if not question.metrics:
        msg = "Name at least one metric."
        raise InvalidArgument(msg, field="metrics")
    _check_names("metrics", "metric", question.metrics, list(METRICS))
    for metric in question.asked:
        names = metric.dataset.dimension_names()
        _check_names("group_by", f"dimension of {metric.id}", question.group_by, names)


def _check_names(path: str, what: str, given: Sequence[str], known: Sequence[str]) -> None:
    for index, name in enumerate(given):
        if name not in known:
            msg = f"There is no {what} called {name!r}; possible: {', '.join(known)}."
            raise InvalidArgument(msg, field=f"{path}[{index}]")
        if name in given[:index]:
            msg = f"{name} is named twice."
            raise InvalidArgument(msg, field=f"{path}[{index}]")


def _single_currency(rows: Sequence[Row]) -> str:
    found = sorted({currency for row in rows for currency in row[-2:] if currency})
    if len(found) > 1:
        msg = f"The amounts have several currencies; name one of {', '.join(found)} and others."
        raise InvalidArgument(msg, reason="CURRENCY_REQUIRED", field="currency_code")
    return found[0] if found else ""


def _merged(question: Question, rows: Sequence[Row]) -> list[tuple[Group, dict[str, str]]]:
    """One row for each group, with the metrics of all datasets."""
    asked, datasets = question.asked, question.datasets
    width = len(question.group_by)
    groups: dict[Group, dict[str, str]] = {}
    for number, *row in rows:
        values = groups.setdefault(tuple(row[:width]), _nothing(asked))
        for metric, value in zip(asked, row[width:-2], strict=True):
            if metric.dataset is datasets[number]:
                _put(values, metric, value)
    if len(groups) > MAX_ROWS:
        msg = f"The answer has more than {MAX_ROWS} rows; narrow it by a filter or a time range."
        raise InvalidArgument(msg, reason="TOO_MANY_ROWS", field="group_by")
    return sorted(groups.items(), key=lambda item: item[0])


def _nothing(asked: Sequence[Metric]) -> dict[str, str]:
    """The values of a group without records."""
    return {m.id: m.shown(m.nothing) for m in asked if m.nothing is not None}


def _put(values: dict[str, str], metric: Metric, value: Decimal | int | None) -> None:
    if value is None:
        values.pop(metric.id, None)
    else:
        values[metric.id] = metric.shown(value)
