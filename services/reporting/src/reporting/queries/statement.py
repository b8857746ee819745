"""From a question to SQL: a SELECT for each dataset, in one statement and so of one moment."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from crmkit.access import RecordScope, scope_condition
from crmkit.filter_grammar import Group, Node, Term, parse_filter
from crmkit.filters import compile_filter
from crmkit.statements import TIMESTAMP, Statement, compile_statement
from reporting.queries.datasets import MERGES, TEAMS, Dataset
from reporting.queries.metrics import METRICS, Metric, Records, Unit, is_in

MAX_ROWS = 10_000
_START = sa.bindparam("start_time", type_=TIMESTAMP)
_END = sa.bindparam("end_time", type_=TIMESTAMP)


@dataclass(frozen=True)
class Question:
    """The form of a query; queries that differ in nothing here share a compiled statement.

    Attributes:
        metrics: Metric ids.
        group_by: Dimensions.
        filter: AIP-160 over dimensions.
        scope: How far the caller sees.
        starts: True if the span of time has a start.
        ends: True if it has an end.
        in_currency: True if only amounts in the currency asked for count.
    """

    metrics: tuple[str, ...]
    group_by: tuple[str, ...] = ()
    filter: str = ""
    scope: RecordScope = RecordScope.ALL
    starts: bool = False
    ends: bool = False
    in_currency: bool = False

    @property
    def asked(self) -> list[Metric]:
        """The metrics' definitions."""
        return [METRICS[name] for name in self.metrics]

    @property
    def datasets(self) -> list[Dataset]:
        """What they are computed over."""
        return list(dict.fromkeys(metric.dataset for metric in self.asked))

    def uses(self, dimension: str) -> bool:
        """True if the dimension is grouped or filtered by."""
        return dimension in self.group_by or dimension in _named_in(parse_filter(self.filter))


def _named_in(node: Node | None) -> Iterable[str]:
    if isinstance(node, Term):
        yield node.path[0]
    elif isinstance(node, Group):
        for item in node.items:
            yield from _named_in(item)


@lru_cache(maxsize=256)
def statement_of(question: Question) -> Statement:
    """The compiled statement.

    Its rows: the number of the dataset in the question, the group's dimensions as text, the value
    of each metric (NULL where it belongs to another dataset), and the first and last currency among
    the amounts.

    Raises:
        InvalidArgument: `INVALID_FILTER`.
    """
    selects = [_select(question, number) for number in range(len(question.datasets))]
    return compile_statement(selects[0] if len(selects) == 1 else sa.union_all(*selects))


def _select(question: Question, number: int) -> sa.Select[Any]:
    dataset = question.datasets[number]
    asked = [metric for metric in question.asked if metric.dataset is dataset]
    facts, conditions = _facts(question, dataset, asked)
    dimensions = [dataset.dimensions(facts)[name] for name in question.group_by]
    records = Records(facts, frozenset(_states(asked)), question.in_currency)
    values = [
        metric.value(records) if metric in asked else sa.cast(sa.null(), sa.Numeric)
        for metric in question.asked
    ]
    select = (
        sa.select(
            sa.literal_column(str(number)),
            *(sa.func.coalesce(d.text, sa.literal_column("''")) for d in dimensions),
            *values,
            *_currencies(records, asked),
        )
        .select_from(_joined(facts, dataset))
        .where(*conditions)
        .limit(MAX_ROWS + 1)
    )
    columns = [column for dimension in dimensions for column in dimension.columns]
    return select.group_by(*columns) if columns else select


def _facts(
    question: Question, dataset: Dataset, asked: Sequence[Metric]
) -> tuple[sa.FromClause, list[sa.ColumnElement[bool]]]:
    """What to select from, and which of its rows."""
    if not question.uses("product") or "product" not in dataset.dimension_names():
        return dataset.table, _conditions(question, dataset, asked, dataset.table)
    shares = dataset.by_product()
    conditions = _conditions(question, dataset, asked, shares)
    if "product" in question.group_by:
        return shares, conditions
    # Filtered by product but not cut by it: each record once, with the parts that the filter left.
    kept = [column for column in shares.c if column.name not in ("amount", "product")]
    once = (
        sa.select(*kept, sa.func.sum(shares.c.amount).label("amount"))
        .select_from(_joined(shares, dataset))
        .where(*conditions)
        .group_by(*kept)
        .subquery("once")
    )
    return once, []


def _joined(facts: sa.FromClause, dataset: Dataset) -> sa.FromClause:
    """PostgreSQL leaves out the joins that nothing asks for: parent team, survivors of merges."""
    with_teams = facts.outerjoin(TEAMS, TEAMS.c.id == facts.c[dataset.team])
    return with_teams.outerjoin(MERGES, MERGES.c.id == facts.c.account)


def _conditions(
    question: Question, dataset: Dataset, asked: Sequence[Metric], facts: sa.FromClause
) -> list[sa.ColumnElement[bool]]:
    fields = {name: d.filter for name, d in dataset.dimensions(facts).items()}
    time = facts.c[dataset.time]
    found = [
        sa.not_(facts.c.deleted),
        is_in(facts, _states(asked)),
        scope_condition(facts, question.scope),
        compile_filter(question.filter, fields),
        time >= _START if question.starts else None,
        time < _END if question.ends else None,
    ]
    return [condition for condition in found if condition is not None]


def _states(metrics: Sequence[Metric]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(state for metric in metrics for state in metric.states))


def _currencies(records: Records, asked: Sequence[Metric]) -> list[sa.ColumnElement[Any]]:
    """The first and the last currency among the amounts, where none was asked for."""
    money = [metric for metric in asked if metric.unit == Unit.MONEY]
    if not money or records.in_currency:
        return [sa.cast(sa.null(), sa.Text), sa.cast(sa.null(), sa.Text)]
    currency, states = records.facts.c.currency, _states(money)
    return [records.among(extreme(currency), states) for extreme in (sa.func.min, sa.func.max)]
