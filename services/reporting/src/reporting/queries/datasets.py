"""What metrics are computed over: facts, their own time, and the dimensions to cut them by.

A dataset answers who owned a record and when it happened in its own way: open opportunities by
their owner of today and the time they were opened, closed ones by those who closed them and the
time they did.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from crm.sales.v1.opportunity_pb2 import Opportunity
from crm.support.v1.ticket_pb2 import Ticket
from crmkit.filters import FilterField
from crmkit.statements import TIMESTAMP
from reporting.storage.facts import (
    dim_merge,
    dim_team,
    fact_opportunity,
    fact_opportunity_product,
    fact_ticket,
)

NOW = sa.bindparam("now", type_=TIMESTAMP)
ZONE = sa.bindparam("time_zone", type_=sa.Text)
TEAMS = dim_team.alias("team_of_record")
MERGES = dim_merge.alias("merge_of_account")
AGES = {"0-1": 1, "1-3": 3, "3-7": 7, "7-30": 30, "30+": None}  # days, the upper end excluded

# The dimensions whose values are resource names; the others are plain words.
REFERENCES = frozenset({"stage", "pipeline", "owner", "team", "parent_team", "account", "product"})

Column = sa.ColumnElement[Any]


@dataclass(frozen=True)
class Dimension:
    """A way to cut a dataset.

    Attributes:
        columns: What rows are grouped by.
        text: How a group is shown, computed from `columns`; NULL where there is nothing.
        filter: What filters may do with it.
    """

    columns: tuple[Column, ...]
    text: Column
    filter: FilterField


@dataclass(frozen=True)
class Dataset:
    """Facts that metrics are computed over.

    Attributes:
        name: Its name, for people who read this code.
        table: The facts; `deleted` rows never count.
        time: The column that time ranges and months are about.
        team: The column whose parent in the tree is the parent team.
        dimensions: The dimensions, given what to select from: the table, or its rows by product.
    """

    name: str
    table: sa.Table
    time: str
    team: str
    dimensions: Callable[[sa.FromClause], Mapping[str, Dimension]]

    def dimension_names(self) -> list[str]:
        """What metrics of this dataset can be grouped and filtered by."""
        has_products = self.table is fact_opportunity
        return sorted(self.dimensions(self.by_product() if has_products else self.table))

    def by_product(self) -> sa.Subquery:
        """One row per product of a record, with its part of the amount; one where there is none."""
        facts, products = self.table, fact_opportunity_product
        amount = sa.case((products.c.product.is_(None), facts.c.amount), else_=products.c.amount)
        return (
            sa.select(
                *(column for column in facts.c if column.name != "amount"),
                amount.label("amount"),
                products.c.product,
            )
            .select_from(facts.outerjoin(products, products.c.opportunity == facts.c.id))
            .subquery("by_product")
        )


def _reference(column: Column, collection: str) -> Dimension:
    name = sa.literal_column(f"'{collection}/'").concat(sa.cast(column, sa.Text))
    return Dimension((column,), name, FilterField(column, "reference", (collection,)))


def _account(facts: sa.FromClause) -> Dimension:
    """The account that stands for the one that was recorded."""
    return _reference(sa.func.coalesce(MERGES.c.survivor, facts.c.account), "accounts")


def _stage(facts: sa.FromClause) -> Dimension:
    pipeline, stage = facts.c.pipeline, facts.c.stage
    name = (
        sa.literal_column("'pipelines/'")
        .concat(sa.cast(pipeline, sa.Text))
        .concat(sa.literal_column("'/stages/'"))
        .concat(sa.cast(stage, sa.Text))
    )
    known = FilterField(stage, "reference", ("pipelines/stages",))
    return Dimension((pipeline, stage), name, known)


def _state(facts: sa.FromClause, names: list[str]) -> Dimension:
    column = facts.c.state
    return Dimension((column,), column, FilterField(column, "enum", tuple(names[1:])))


def _month(time: Column) -> Dimension:
    return _calendar(time, "month", "YYYY-MM")


def _day(time: Column) -> Dimension:
    return _calendar(time, "day", "YYYY-MM-DD")


def _calendar(time: Column, unit: str, form: str) -> Dimension:
    """Spans of time as the calendar of the time zone asked for has them."""
    local = sa.func.timezone(ZONE, time)
    begin = sa.func.date_trunc(sa.literal_column(f"'{unit}'"), local)
    text = sa.func.to_char(begin, sa.literal_column(f"'{form}'"))
    return Dimension((begin,), text, FilterField(text, unit))


def _age(time: Column) -> Dimension:
    steps: list[tuple[Column, Column]] = [
        (NOW - time < sa.literal_column(f"interval '{days} days'"), sa.literal_column(f"'{name}'"))
        for name, days in AGES.items()
        if days is not None
    ]
    bucket = sa.case((time.is_(None), sa.null()), *steps, else_=sa.literal_column("'30+'"))
    return Dimension((bucket,), bucket, FilterField(bucket, "enum", tuple(AGES)))


def _opportunity_dimensions(
    facts: sa.FromClause, time: str, owner: str, team: str
) -> dict[str, Dimension]:
    found = {
        "stage": _stage(facts),
        "pipeline": _reference(facts.c.pipeline, "pipelines"),
        "month": _month(facts.c[time]),
        "day": _day(facts.c[time]),
        "owner": _reference(facts.c[owner], "users"),
        "team": _reference(facts.c[team], "teams"),
        "parent_team": _reference(TEAMS.c.parent, "teams"),
        "account": _account(facts),
        "state": _state(facts, Opportunity.State.keys()),
    }
    if "product" in facts.c:
        found["product"] = _reference(facts.c.product, "products")
    return found


def _open(facts: sa.FromClause) -> dict[str, Dimension]:
    return _opportunity_dimensions(facts, "open_time", "owner", "team")


def _closed(facts: sa.FromClause) -> dict[str, Dimension]:
    return _opportunity_dimensions(facts, "close_time", "close_owner", "close_team")


def _tickets(facts: sa.FromClause) -> dict[str, Dimension]:
    return {
        "month": _month(facts.c.open_time),
        "day": _day(facts.c.open_time),
        "owner": _reference(facts.c.owner, "users"),
        "team": _reference(facts.c.team, "teams"),
        "parent_team": _reference(TEAMS.c.parent, "teams"),
        "account": _account(facts),
        "state": _state(facts, Ticket.State.keys()),
        "age": _age(facts.c.open_time),
    }


OPEN_OPPORTUNITIES = Dataset("open opportunities", fact_opportunity, "open_time", "team", _open)
CLOSED_OPPORTUNITIES = Dataset(
    "closed opportunities", fact_opportunity, "close_time", "close_team", _closed
)
OPEN_TICKETS = Dataset("open tickets", fact_ticket, "open_time", "team", _tickets)
