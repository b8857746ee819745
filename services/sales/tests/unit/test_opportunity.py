"""Opportunities: moving, closing, reopening, and the values that follow from others."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.ids import uuid7
from crmkit.money import Money
from crmkit.states import Cell
from sales.domain.line import Line
from sales.domain.opportunity import OPPORTUNITY, Opportunity
from sales.domain.pipeline import Pipeline, Stage, default_pipeline

NOW = datetime(2026, 11, 24, 9, tzinfo=UTC)
DAY = timedelta(days=1)

# The whole table: method → (states it is allowed in, state after it).
ALLOWED = {
    "move": ({"OPEN"}, "OPEN"),
    "win": ({"OPEN"}, "WON"),
    "lose": ({"OPEN"}, "LOST"),
    "reopen": ({"WON", "LOST"}, "OPEN"),
}
EVENTS = {
    "move": ["stage_changed"],
    "win": ["won", "stage_changed"],
    "lose": ["lost", "stage_changed"],
    "reopen": ["reopened", "stage_changed"],
}


def sales_pipeline() -> Pipeline:
    pipeline = Pipeline(id=uuid7(), create_time=NOW, update_time=NOW, **default_pipeline())  # type: ignore[arg-type]
    pipeline.check()
    pipeline.name_stages([])
    return pipeline


PIPELINE = sales_pipeline()


def stage(display_name: str) -> Stage:
    found = PIPELINE.stage_called(display_name)
    assert found is not None
    return found


def opportunity(**values: object) -> Opportunity:
    fields: dict[str, object] = {"display_name": "O", "pipeline": PIPELINE.id, **values}
    return Opportunity(id=uuid7(), create_time=NOW, update_time=NOW, **fields)  # type: ignore[arg-type]


def in_state(state: str) -> Opportunity:
    found = opportunity()
    found.begin(PIPELINE)
    if state != "OPEN":
        found.state, found.stage = state, PIPELINE.closing_stage(state).name
    return found


def call(found: Opportunity, method: str) -> None:
    arguments = {
        "move": [PIPELINE, stage("Proposal").name],
        "win": [PIPELINE, NOW],
        "lose": [PIPELINE, NOW, "price"],
        "reopen": [PIPELINE],
    }
    getattr(found, method)(*arguments[method])


def settled(found: Opportunity, before: Opportunity | None = None) -> Opportunity:
    now_in = PIPELINE.stage(found.stage)
    assert now_in is not None
    found.settle_probability(before, now_in)
    found.settle_amount(before)
    return found


def test_the_table_has_every_state_and_method() -> None:
    """INVARIANT: 3 states times 4 methods; a new one must be decided on."""
    assert len(list(OPPORTUNITY.cells())) == 12


@pytest.mark.parametrize("cell", list(OPPORTUNITY.cells()), ids=lambda c: f"{c.state}-{c.method}")
def test_each_cell_moves_or_refuses_as_the_table_says(cell: Cell) -> None:
    """INVARIANT: a method out of place changes nothing and names what is allowed."""
    found = in_state(cell.state)
    stood_in = found.stage
    sources, target = ALLOWED[cell.method]
    if cell.state in sources:
        call(found, cell.method)
        assert found.state == target
        entered = PIPELINE.stage(found.stage)
        assert entered is not None
        assert entered.category == target
        assert [event.kind for event in found.events] == EVENTS[cell.method]
        assert found.events[-1].details == {"from_stage": stood_in}
        return
    with pytest.raises(FailedPrecondition) as refused:
        call(found, cell.method)
    assert refused.value.reason == "ILLEGAL_TRANSITION"
    assert refused.value.metadata["state"] == cell.state
    allowed = sorted(m for m, (states, _) in ALLOWED.items() if cell.state in states)
    assert refused.value.metadata["allowed_methods"] == ",".join(allowed)
    assert (found.state, found.stage, found.events) == (cell.state, stood_in, [])


@pytest.mark.parametrize(
    ("display_name", "method"), [("Won", "WinOpportunity"), ("Lost", "LoseOpportunity")]
)
def test_moving_to_a_closing_stage_names_the_method_to_use(display_name: str, method: str) -> None:
    """INVARIANT: there is one way to win, and one to lose."""
    found = in_state("OPEN")
    with pytest.raises(FailedPrecondition) as refused:
        found.move(PIPELINE, stage(display_name).name)
    assert (refused.value.reason, refused.value.metadata) == ("USE_WIN_OR_LOSE", {"method": method})


def test_moving_to_another_pipelines_stage_is_refused() -> None:
    """Whatever the state: the request is wrong in itself."""
    foreign = sales_pipeline().stages[0].name
    for state in ("OPEN", "WON"):
        with pytest.raises(InvalidArgument) as refused:
            in_state(state).move(PIPELINE, foreign)
        assert refused.value.violations[0].field == "stage"


def test_moving_to_where_it_stands_is_refused() -> None:
    """INVARIANT: no silent no-op."""
    found = in_state("OPEN")
    with pytest.raises(FailedPrecondition) as refused:
        found.move(PIPELINE, stage("Prospecting").name)
    assert refused.value.reason == "ALREADY_IN_STAGE"


def test_reopening_goes_back_to_where_it_stood() -> None:
    """And nothing of the closing is left."""
    found = in_state("OPEN")
    found.move(PIPELINE, stage("Proposal").name)
    found.lose(PIPELINE, NOW, "price")
    assert (found.close_time, found.lost_reason) == (NOW, "price")
    found.reopen(PIPELINE)
    assert found.stage == stage("Proposal").name
    assert (found.close_time, found.lost_reason, found.last_open_stage) == (None, None, None)


def test_reopening_goes_to_the_last_open_stage_where_history_is_not_known() -> None:
    """An imported deal does not say where it stood before it was won."""
    found = in_state("WON")
    found.reopen(PIPELINE)
    assert found.stage == stage("Negotiation").name


# -- probability


def test_a_stage_never_overwrites_a_manual_probability() -> None:
    """INVARIANT: what a person set stays until a person changes it."""
    found = settled(opportunity(stage=stage("Engaging").name, state="OPEN", probability=0.66))
    assert found.probability_source == "MANUAL"
    before = opportunity(stage=found.stage, state="OPEN", probability=0.66)
    found.move(PIPELINE, stage("Negotiation").name)
    settled(found, before)
    assert (found.probability, found.probability_source) == (0.66, "MANUAL")


def test_closing_is_certain_and_reopening_brings_the_manual_probability_back() -> None:
    """Won is 1, lost is 0, both as the stage's."""
    for method, probability in (("win", 1.0), ("lose", 0.0)):
        found = settled(opportunity(stage=stage("Engaging").name, state="OPEN", probability=0.66))
        call(found, method)
        settled(found, opportunity(stage=stage("Engaging").name, state="OPEN", probability=0.66))
        assert (found.probability, found.probability_source) == (probability, "STAGE")
        before = opportunity(stage=found.stage, state=found.state, probability=probability)
        found.reopen(PIPELINE)
        settled(found, before)
        assert (found.probability, found.probability_source) == (0.66, "MANUAL")


def test_clearing_a_manual_probability_restores_the_stages() -> None:
    """None means: as the stage says."""
    found = settled(opportunity(stage=stage("Engaging").name, state="OPEN", probability=0.66))
    found.probability = None
    before = opportunity(stage=found.stage, state="OPEN", probability=0.66)
    settled(found, before)
    assert (found.probability, found.probability_source) == (0.3, "STAGE")


def test_the_probability_of_a_closed_opportunity_is_not_set() -> None:
    """INVARIANT: closed is certain."""
    found = in_state("WON")
    found.probability = 0.5
    with pytest.raises(FailedPrecondition) as refused:
        settled(found, opportunity(stage=found.stage, state="WON", probability=1.0))
    assert refused.value.reason == "OPPORTUNITY_CLOSED"


# -- amount


def line(price: str | None) -> Line:
    money = None if price is None else Money(Decimal(price), "EUR")
    return Line(product=uuid7(), quantity=Decimal(1), unit_price=money)


EUR_9 = Money(Decimal(9), "EUR")
EUR_5 = Money(Decimal(5), "EUR")


def test_the_amount_follows_the_lines_unless_set_by_hand() -> None:
    """INVARIANT: lines never overwrite a manual amount; clearing it lets the lines speak again."""
    found = opportunity(lines=[line("5")])
    found.settle_amount(None)
    assert (found.amount, found.amount_source) == (EUR_5, "LINES")

    found.lines = [line("5"), line("4")]
    found.settle_amount(opportunity(amount=EUR_5, amount_source="LINES"))
    assert (found.amount, found.amount_source) == (EUR_9, "LINES")

    found.amount = EUR_5
    found.settle_amount(opportunity(amount=EUR_9, amount_source="LINES"))
    assert (found.amount, found.amount_source) == (EUR_5, "MANUAL")

    found.lines = []
    found.settle_amount(opportunity(amount=EUR_5, amount_source="MANUAL"))
    assert (found.amount, found.amount_source) == (EUR_5, "MANUAL")

    found.lines, found.amount = [line("9")], None
    found.settle_amount(opportunity(amount=EUR_5, amount_source="MANUAL"))
    assert (found.amount, found.amount_source) == (EUR_9, "LINES")


def test_an_opportunity_without_amount_and_prices_has_none() -> None:
    """INVARIANT: an absent amount is not 0."""
    found = opportunity(lines=[line(None)])
    found.settle_amount(None)
    assert (found.amount, found.amount_source) == (None, None)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"amount": Money(Decimal(-1), "EUR")}, "opportunity.amount"),
        ({"probability": 1.01}, "opportunity.probability"),
        ({"probability": float("nan")}, "opportunity.probability"),
    ],
)
def test_values_out_of_range_are_refused(values: dict[str, object], field: str) -> None:
    """The field at fault is named."""
    with pytest.raises(InvalidArgument) as refused:
        opportunity(**values).check()
    assert refused.value.violations[0].field == field


# -- histories that imports bring


def test_an_imported_won_deal_is_created_and_won_at_its_times() -> None:
    """INVARIANT: reports count by when it happened; stages may be said by their display name."""
    opened, closed = NOW - 100 * DAY, NOW - 10 * DAY
    found = opportunity(stage="won", open_time=opened, close_time=closed)
    found.begin_with_history(PIPELINE)
    assert (found.stage, found.state) == (stage("Won").name, "WON")
    assert [(e.kind, e.effective_time) for e in found.events] == [
        ("created", opened),
        ("won", closed),
    ]


def test_an_imported_deal_without_times_keeps_none() -> None:
    """A Prospecting deal that nobody dated stays undated."""
    found = opportunity(stage="Prospecting")
    found.begin_with_history(PIPELINE)
    assert (found.state, found.open_time, found.close_time) == ("OPEN", None, None)
    assert [(e.kind, e.effective_time) for e in found.events] == [("created", None)]


@pytest.mark.parametrize(
    ("state", "display_name"), [("WON", "Won"), ("LOST", "Lost"), ("OPEN", "Prospecting")]
)
def test_an_imported_state_alone_says_the_stage(state: str, display_name: str) -> None:
    """And what is closed was closed at some time: now, if the file does not say."""
    found = opportunity(state=state)
    found.begin_with_history(PIPELINE)
    assert found.stage == stage(display_name).name
    assert found.close_time == (None if state == "OPEN" else NOW)


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"stage": "Daydreaming"}, "opportunity.stage"),
        ({"stage": "Won", "state": "LOST"}, "opportunity.state"),
        ({"stage": "Won", "state": "OPEN"}, "opportunity.state"),
        ({"stage": "Engaging", "close_time": NOW}, "opportunity.close_time"),
        ({"state": "WON", "lost_reason": "price"}, "opportunity.lost_reason"),
        (
            {"state": "WON", "open_time": NOW, "close_time": NOW - DAY},
            "opportunity.close_time",
        ),
    ],
)
def test_a_history_that_cannot_be_is_refused(values: dict[str, object], field: str) -> None:
    """INVARIANT: stage, state, times and reason agree."""
    with pytest.raises(InvalidArgument) as refused:
        opportunity(**values).begin_with_history(PIPELINE)
    assert refused.value.violations[0].field == field
