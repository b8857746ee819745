"""The catalogue holds what others rely on, and refuses questions that make no sense by name."""

from decimal import Decimal

import pytest

from crmkit import contract
from crmkit.errors import InvalidArgument
from reporting.queries.metrics import METRICS
from reporting.queries.query import check
from reporting.queries.statement import Question, statement_of
from reporting.storage.facts import FACTS

PROMISED = [
    "opportunities_open",
    "opportunities_won",
    "opportunities_lost",
    "pipeline_amount",
    "weighted_amount",
    "won_amount",
    "win_rate",
    "sales_cycle_days",
    "tickets_open",
]
DIMENSIONS = ["stage", "month", "owner", "team", "parent_team", "product", "account", "state"]


def test_every_promised_metric_is_defined() -> None:
    """INVARIANT: the metric ids that other parts use exist."""
    assert sorted(METRICS) == sorted(PROMISED)


@pytest.mark.parametrize("metric", [m for m in PROMISED if m != "tickets_open"])
def test_metrics_of_opportunities_have_every_promised_dimension(metric: str) -> None:
    assert set(DIMENSIONS) <= set(METRICS[metric].dataset.dimension_names())
    check(Question((metric,), tuple(DIMENSIONS)))


def test_tickets_have_an_age_but_no_stage() -> None:
    names = METRICS["tickets_open"].dataset.dimension_names()
    assert {"age", "state", "owner", "team", "account", "month"} <= set(names)
    assert "stage" not in names


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Question(()), "metrics"),
        (Question(("won_amount", "nonsense")), "metrics[1]"),
        (Question(("won_amount", "won_amount")), "metrics[1]"),
        (Question(("won_amount",), ("month", "color")), "group_by[1]"),
        (Question(("won_amount",), ("month", "month")), "group_by[1]"),
        (Question(("won_amount", "tickets_open"), ("stage",)), "group_by[0]"),
        (Question(("won_amount",), ("age",)), "group_by[0]"),
    ],
)
def test_a_question_that_makes_no_sense_is_refused_by_name(question: Question, field: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        check(question)
    assert [violation.field for violation in caught.value.violations] == [field]


@pytest.mark.parametrize(
    "text",
    [
        "age = 0-1",
        "month >= 5",
        "month = 2017-13",
        "day = 2017-02-30",
        "color = red",
        "month > ",
        "state = SOLD",
        'team = "users/1"',
        "state > OPEN",
    ],
)
def test_a_wrong_filter_is_refused(text: str) -> None:
    with pytest.raises(InvalidArgument) as caught:
        statement_of(Question(("won_amount",), filter=text))
    assert caught.value.reason == "INVALID_FILTER"


@pytest.mark.parametrize(
    ("metric", "value", "shown"),
    [
        ("won_amount", Decimal(1134672), "1134672.0000"),
        ("won_amount", Decimal("0.00005"), "0.0001"),
        ("opportunities_won", 12, "12"),
        ("win_rate", Decimal(2) / 3, "0.666667"),
        ("sales_cycle_days", Decimal("51.125"), "51.13"),
    ],
)
def test_values_are_decimal_strings_with_the_decimals_of_their_unit(
    metric: str, value: Decimal | int, shown: str
) -> None:
    assert METRICS[metric].shown(value) == shown


def test_no_figure_is_made_of_a_hidden_field() -> None:
    """INVARIANT: whoever may query metrics learns of no field that is seen with a right of its own."""
    hidden = {name for resource in contract.resources().values() for name in resource.sensitive}
    columns = {column.name for table in FACTS.tables.values() for column in table.columns}
    assert hidden
    assert not hidden & columns
