"""The catalogue of metrics: each number is defined here, once."""

from collections.abc import Callable, Collection
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import sqlalchemy as sa

from crm.reporting.v1.metric_pb2 import Metric as MetricMessage
from reporting.queries.datasets import (
    CLOSED_OPPORTUNITIES,
    OPEN_OPPORTUNITIES,
    OPEN_TICKETS,
    Dataset,
)

Unit = MetricMessage.Unit
Value = sa.ColumnElement[Any]
Condition = sa.ColumnElement[bool]

CURRENCY = sa.bindparam("currency", type_=sa.Text)
_OPEN, _WON, _LOST = ("OPEN",), ("WON",), ("LOST",)
_TICKET_STATES = ("NEW", "OPEN", "PENDING_CUSTOMER", "PENDING_THIRD_PARTY", "ON_HOLD")
_ZERO: Value = sa.literal_column("0")
_SECONDS_PER_DAY: Value = sa.literal_column("86400")
_DECIMALS = {
    Unit.COUNT: Decimal(1),
    Unit.MONEY: Decimal("0.0001"),
    Unit.RATIO: Decimal("0.000001"),
    Unit.DAYS: Decimal("0.01"),
}


@dataclass(frozen=True)
class Records:
    """What a query has selected of a dataset.

    Attributes:
        facts: The records.
        states: The states that they are in.
        in_currency: True if amounts count in the currency asked for only.
    """

    facts: sa.FromClause
    states: frozenset[str]
    in_currency: bool

    def among(self, aggregate: Any, states: Collection[str], *conditions: Condition) -> Value:
        """An aggregate over the records in some of the states; all of them need no filter."""
        wanted = [*conditions]
        if frozenset(states) != self.states:
            wanted.append(is_in(self.facts, states))
        filtered: Value = aggregate.filter(*wanted) if wanted else aggregate
        return filtered

    def count(self, states: Collection[str]) -> Value:
        """How many are in some of the states."""
        return self.among(sa.func.count(), states)


@dataclass(frozen=True)
class Metric:
    """The definition of a number.

    Attributes:
        id: What requests name it by.
        unit: What it counts; decides its decimals.
        dataset: The facts it is computed over, with their time and dimensions.
        states: The records that count, by state.
        value: The SQL aggregate; rounded only when shown.
    """

    id: str
    display_name: str
    description: str
    unit: "Unit.Value.ValueType"
    dataset: Dataset
    states: tuple[str, ...]
    value: Callable[[Records], Value]

    @property
    def nothing(self) -> Decimal | None:
        """The value over no records: 0, or none where there is nothing to compute from."""
        return Decimal(0) if self.unit in (Unit.COUNT, Unit.MONEY) else None

    def shown(self, value: Decimal | int) -> str:
        """The value as a decimal string with the unit's decimals, half up."""
        return str(Decimal(value).quantize(_DECIMALS[self.unit], rounding=ROUND_HALF_UP))


def is_in(facts: sa.FromClause, states: Collection[str]) -> Condition:
    """Which records are in one of the states; literal, so that partial indexes fit."""
    return facts.c.state.in_([sa.literal_column(f"'{state}'") for state in states])


def _count(states: Collection[str]) -> Callable[[Records], Value]:
    return lambda records: records.count(states)


def _sum(states: Collection[str], *, weighted: bool = False) -> Callable[[Records], Value]:
    """Amounts; 0 over no records, none where no record has an amount."""

    def value(records: Records) -> Value:
        facts = records.facts
        amount = facts.c.amount * facts.c.probability if weighted else facts.c.amount
        conditions = [facts.c.currency == CURRENCY] if records.in_currency else []
        return sa.func.coalesce(
            records.among(sa.func.sum(amount), states, *conditions),
            sa.case((records.count(states) == _ZERO, _ZERO)),
        )

    return value


def _win_rate(records: Records) -> Value:
    won = sa.cast(records.count(_WON), sa.Numeric)
    return won / sa.func.nullif(records.count(_WON + _LOST), _ZERO)


def _cycle_days(records: Records) -> Value:
    facts = records.facts
    seconds = sa.extract("epoch", facts.c.close_time - facts.c.open_time)
    return records.among(sa.func.avg(seconds / _SECONDS_PER_DAY), _WON)


_CATALOGUE = (
    Metric(
        "opportunities_open",
        "Open opportunities",
        "How many opportunities are still to be decided.",
        Unit.COUNT, OPEN_OPPORTUNITIES, _OPEN, _count(_OPEN),
    ),
    Metric(
        "pipeline_amount",
        "Pipeline",
        "Sum of the amounts of open opportunities that have one.",
        Unit.MONEY, OPEN_OPPORTUNITIES, _OPEN, _sum(_OPEN),
    ),
    Metric(
        "weighted_amount",
        "Weighted pipeline",
        "Sum of amount times probability of open opportunities.",
        Unit.MONEY, OPEN_OPPORTUNITIES, _OPEN, _sum(_OPEN, weighted=True),
    ),
    Metric(
        "opportunities_won",
        "Won opportunities",
        "How many opportunities were won, by the time they were won.",
        Unit.COUNT, CLOSED_OPPORTUNITIES, _WON, _count(_WON),
    ),
    Metric(
        "opportunities_lost",
        "Lost opportunities",
        "How many opportunities were lost, by the time they were lost.",
        Unit.COUNT, CLOSED_OPPORTUNITIES, _LOST, _count(_LOST),
    ),
    Metric(
        "won_amount",
        "Won amount",
        "Sum of the amounts of won opportunities, by the time they were won.",
        Unit.MONEY, CLOSED_OPPORTUNITIES, _WON, _sum(_WON),
    ),
    Metric(
        "win_rate",
        "Win rate",
        "Won ÷ (won + lost), by the time they were closed; absent where nothing was closed.",
        Unit.RATIO, CLOSED_OPPORTUNITIES, _WON + _LOST, _win_rate,
    ),
    Metric(
        "sales_cycle_days",
        "Sales cycle",
        "Average days from opening to winning, of won opportunities.",
        Unit.DAYS, CLOSED_OPPORTUNITIES, _WON, _cycle_days,
    ),
    Metric(
        "tickets_open",
        "Open tickets",
        "How many tickets are neither resolved nor closed.",
        Unit.COUNT, OPEN_TICKETS, _TICKET_STATES, _count(_TICKET_STATES),
    ),
)  # fmt: skip

METRICS = {metric.id: metric for metric in sorted(_CATALOGUE, key=lambda metric: metric.id)}
