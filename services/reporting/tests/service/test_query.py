"""Metrics equal what a few independent lines compute from the same records."""

from collections import defaultdict
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Any
from uuid import UUID

import pytest
from google.type.money_pb2 import Money
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from crm.identity.v1.team_pb2 import Team, TeamCreated
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityCreated
from crm.support.v1.ticket_pb2 import Ticket, TicketCreated
from crmkit.access import EVERYTHING, Principal, RecordScope
from crmkit.errors import InvalidArgument
from reporting.queries.statement import Question

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)  # as in conftest.py
OPEN, WON, LOST = Opportunity.OPEN, Opportunity.WON, Opportunity.LOST


def an_id(number: int) -> UUID:
    return UUID(int=number)


def name(collection: str, number: int | None) -> str:
    return f"{collection}/{an_id(number)}" if number is not None else ""


# Team 1 and 2 lie below team 3; team 4 stands alone.
TEAMS = [
    TeamCreated(team=Team(name=name("teams", team), parent=name("teams", parent)))
    for team, parent in ((1, 3), (2, 3), (3, None), (4, None))
]
some = st.none() | st.integers(1, 3)
moments = st.integers(0, 90 * 24).map(
    lambda h: datetime(2016, 11, 1, tzinfo=UTC) + timedelta(hours=h)
)


@st.composite
def opportunities(draw: st.DrawFn) -> Opportunity:
    opened = draw(st.none() | moments)
    state = draw(st.sampled_from([OPEN, WON, LOST]))
    stage = f"{name('pipelines', 1)}/stages/{an_id(draw(st.integers(1, 3)))}"
    one = Opportunity(
        state=state, stage=stage, pipeline=name("pipelines", 1), open_time=opened,
        owner=name("users", draw(some)), team=name("teams", draw(some)),
        account=name("accounts", draw(some)), probability=draw(st.sampled_from([None, 0.1, 0.75])),
        delete_time=draw(st.sampled_from([None, None, None, NOON])),
    )  # fmt: skip
    if state != OPEN:
        one.close_time.FromDatetime((opened or NOON) + timedelta(hours=draw(st.integers(0, 5000))))
    if draw(st.booleans()):
        units, nanos = draw(st.integers(0, 10**7)), draw(st.sampled_from([0, 500_000_000]))
        one.amount.CopyFrom(Money(currency_code="USD", units=units, nanos=nanos))
    products = draw(st.lists(st.integers(1, 3), max_size=3, unique=True))
    one.lines.extend(Opportunity.Line(product=name("products", product)) for product in products)
    return one


# -- the same numbers, computed without SQL

CUTS: dict[str, Callable[[Opportunity], str]] = {
    "stage": lambda o: o.stage,
    "month": lambda o: f"{_time(o):%Y-%m}" if _time(o) else "",
    "owner": lambda o: o.owner,
    "team": lambda o: o.team,
    "parent_team": lambda o: (
        name("teams", 3) if o.team in (name("teams", 1), name("teams", 2)) else ""
    ),
    "account": lambda o: o.account,
    "state": lambda o: Opportunity.State.Name(o.state),
}


def _time(one: Opportunity) -> datetime | None:
    field = "open_time" if one.state == OPEN else "close_time"
    moment: datetime = getattr(one, field).ToDatetime()
    return moment if one.HasField(field) else None  # type: ignore[arg-type]


def _amount(one: Opportunity) -> Decimal | None:
    if not one.HasField("amount"):
        return None
    return Decimal(one.amount.units) + Decimal(one.amount.nanos) / 10**9


def _sum(amounts: list[Decimal | None]) -> Decimal | None:
    known = [amount for amount in amounts if amount is not None]
    return None if amounts and not known else sum(known, Decimal(0))


def _rounded(value: Decimal | None, step: str) -> str | None:
    return None if value is None else str(value.quantize(Decimal(step), ROUND_HALF_UP))


def _values(records: list[Opportunity]) -> dict[str, str]:
    by_state = {s: [o for o in records if o.state == s] for s in (OPEN, WON, LOST)}
    won, lost = len(by_state[WON]), len(by_state[LOST])
    days = [
        Decimal((o.close_time.ToDatetime() - o.open_time.ToDatetime()) // timedelta(microseconds=1))
        / 86_400_000_000
        for o in by_state[WON]
        if o.HasField("open_time")
    ]
    weighted = [
        amount * Decimal(str(o.probability))
        if (amount := _amount(o)) is not None and o.HasField("probability")
        else None
        for o in by_state[OPEN]
    ]
    found = {
        "opportunities_open": str(len(by_state[OPEN])),
        "opportunities_won": str(won),
        "opportunities_lost": str(lost),
        "pipeline_amount": _rounded(_sum([_amount(o) for o in by_state[OPEN]]), "0.0001"),
        "weighted_amount": _rounded(_sum(weighted), "0.0001"),
        "won_amount": _rounded(_sum([_amount(o) for o in by_state[WON]]), "0.0001"),
        "win_rate": _rounded(Decimal(won) / (won + lost), "0.000001") if won + lost else None,
        "sales_cycle_days": _rounded(sum(days) / len(days), "0.01") if days else None,
    }
    return {metric: value for metric, value in found.items() if value is not None}


METRICS = (
    "opportunities_open", "opportunities_won", "opportunities_lost", "pipeline_amount",
    "weighted_amount", "won_amount", "win_rate", "sales_cycle_days",
)  # fmt: skip


def _expected(
    records: list[Opportunity], group_by: list[str]
) -> list[tuple[tuple[str, ...], dict[str, str]]]:
    groups: dict[tuple[str, ...], list[Opportunity]] = defaultdict(list)
    if not group_by:
        groups[()] = []
    for one in records:
        if not one.HasField("delete_time"):
            groups[tuple(CUTS[cut](one) for cut in group_by)].append(one)
    return [(group, _values(members)) for group, members in sorted(groups.items())]


async def _load(facts: Any, records: list[Opportunity]) -> None:
    await facts.forget()
    for number, one in enumerate(records, start=1):
        one.name = name("opportunities", number)
    created = [OpportunityCreated(opportunity=one) for one in records]
    await facts.apply(facts.events(*TEAMS, *created))


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    records=st.lists(opportunities(), max_size=25),
    group_by=st.lists(st.sampled_from(sorted(CUTS)), max_size=3, unique=True),
)
async def test_every_metric_by_every_dimension_equals_an_independent_computation(
    facts: Any, records: list[Opportunity], group_by: list[str]
) -> None:
    """INVARIANT: SQL and plain Python agree to the last digit, whatever the cut."""
    await _load(facts, records)
    answer = await facts.ask(Question(METRICS, tuple(group_by)))
    assert answer.rows == _expected(records, group_by)


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(records=st.lists(opportunities(), max_size=20))
async def test_the_amounts_by_product_add_up_to_the_whole(
    facts: Any, records: list[Opportunity]
) -> None:
    """INVARIANT: cutting by product moves no money; an opportunity counts once for each product."""
    await _load(facts, records)
    whole = await facts.ask(Question(("won_amount",)))
    cut = await facts.ask(Question(("won_amount", "opportunities_won"), ("product",)))
    parts = [Decimal(values["won_amount"]) for _, values in cut.rows if "won_amount" in values]
    assert sum(parts) == Decimal(whole.rows[0][1].get("won_amount", 0))
    won = [o for o in records if o.state == WON and not o.HasField("delete_time")]
    assert {group[0]: int(values["opportunities_won"]) for group, values in cut.rows} == {
        product: sum(product in [line.product for line in o.lines] or (not product and not o.lines)
                     for o in won)
        for product in {line.product for o in won for line in o.lines}
        | {"" for o in won if not o.lines}
    }  # fmt: skip


async def test_filtering_by_product_counts_each_opportunity_once(facts: Any) -> None:
    one = Opportunity(state=WON, amount=Money(currency_code="USD", units=90))
    one.lines.extend(Opportunity.Line(product=name("products", n)) for n in (1, 2, 3))
    await _load(facts, [one])
    two_of_three = f'product = "{name("products", 1)}" OR product = "{name("products", 2)}"'
    answer = await facts.ask(Question(("opportunities_won", "won_amount"), filter=two_of_three))
    assert answer.rows == [((), {"opportunities_won": "1", "won_amount": "60.0000"})]


async def test_filters_and_time_ranges_narrow_what_is_computed(facts: Any) -> None:
    """INVARIANT: the end of a time range is excluded, its start is not."""
    records = [
        Opportunity(
            state=WON,
            close_time=datetime(2017, month, 1, tzinfo=UTC),
            team=name("teams", team),
        )
        for month, team in ((1, 1), (2, 1), (2, 4), (3, 2))
    ]  # fmt: skip
    await _load(facts, records)

    async def won(text: str = "", **limits: datetime) -> int:
        form = Question(
            ("opportunities_won",), filter=text,
            starts="start_time" in limits, ends="end_time" in limits,
        )  # fmt: skip
        return int((await facts.ask(form, **limits)).rows[0][1]["opportunities_won"])

    assert await won('month >= "2017-02"') == 3
    assert await won(f'month = "2017-02" AND team = "{name("teams", 4)}"') == 1
    assert await won(f'parent_team = "{name("teams", 3)}"') == 3
    assert await won("state = LOST") == 0
    february, march = datetime(2017, 2, 1, tzinfo=UTC), datetime(2017, 3, 1, tzinfo=UTC)
    assert await won(start_time=february) == 3
    assert await won(start_time=february, end_time=march) == 2


async def test_amounts_of_several_currencies_are_never_added(facts: Any) -> None:
    """INVARIANT: one answer has one currency; counts do not depend on it."""
    records = [
        Opportunity(state=WON, amount=Money(currency_code=code, units=units))
        for code, units in (("EUR", 1), ("EUR", 2), ("USD", 40))
    ]
    await _load(facts, records)
    both = Question(("won_amount", "opportunities_won"))
    with pytest.raises(InvalidArgument) as caught:
        await facts.ask(both)
    assert caught.value.reason == "CURRENCY_REQUIRED"
    answer = await facts.ask(both, currency="EUR")
    assert answer.rows == [((), {"won_amount": "3.0000", "opportunities_won": "3"})]
    assert answer.currency == "EUR"
    with pytest.raises(InvalidArgument):
        await facts.ask(both, currency="XXX")


async def test_open_tickets_are_counted_by_state_and_age(facts: Any) -> None:
    ages = [
        timedelta(hours=1),
        timedelta(days=1),
        timedelta(days=6),
        timedelta(days=29),
        timedelta(days=30),
    ]
    tickets = [
        Ticket(name=name("tickets", n), state=Ticket.NEW, open_time=NOON - age)
        for n, age in enumerate(ages)
    ]
    tickets.append(Ticket(name=name("tickets", 98), state=Ticket.RESOLVED, open_time=NOON))
    tickets.append(Ticket(name=name("tickets", 99), state=Ticket.ON_HOLD))
    await facts.apply(facts.events(*(TicketCreated(ticket=ticket) for ticket in tickets)))
    answer = await facts.ask(Question(("tickets_open",), ("state", "age")))
    assert {group: values["tickets_open"] for group, values in answer.rows} == {
        ("NEW", "0-1"): "1", ("NEW", "1-3"): "1", ("NEW", "3-7"): "1", ("NEW", "7-30"): "1",
        ("NEW", "30+"): "1", ("ON_HOLD", ""): "1",
    }  # fmt: skip
    old = await facts.ask(Question(("tickets_open",), filter='age = "30+"'))
    assert old.rows == [((), {"tickets_open": "1"})]


async def test_metrics_of_different_facts_meet_in_one_row(facts: Any) -> None:
    """INVARIANT: where one of them has no records, counts and sums are 0, averages left out."""
    await _load(facts, [Opportunity(state=WON, account=name("accounts", 1))])
    ticket = Ticket(name=name("tickets", 1), state=Ticket.OPEN, account=name("accounts", 2))
    await facts.apply(facts.events(TicketCreated(ticket=ticket)))
    question = Question(("tickets_open", "opportunities_won", "win_rate"), ("account",))
    one = "1.000000"
    assert (await facts.ask(question)).rows == [
        ((name("accounts", 1),), {"tickets_open": "0", "opportunities_won": "1", "win_rate": one}),
        ((name("accounts", 2),), {"tickets_open": "1", "opportunities_won": "0"}),
    ]  # fmt: skip


async def test_who_won_it_keeps_it_but_who_owns_it_now_sees_it(facts: Any) -> None:
    """INVARIANT: grouping goes by the owner at close, rights by the owner of today."""
    created = Opportunity(
        name=name("opportunities", 1), owner=name("users", 1), team=name("teams", 1)
    )
    created.state = OPEN
    won, moved = Opportunity(), Opportunity()
    won.CopyFrom(created)
    won.state = WON
    moved.CopyFrom(won)
    moved.owner, moved.team = name("users", 2), name("teams", 4)
    steps = [OpportunityCreated(opportunity=o) for o in (created, won, moved)]
    await facts.apply(facts.events(*TEAMS, *steps))
    by_owner = Question(("opportunities_won",), ("owner", "team"), scope=RecordScope.OWN)
    before = Principal("users/1", EVERYTHING, user=an_id(1), team=an_id(1))
    after = Principal("users/2", EVERYTHING, user=an_id(2), team=an_id(4))
    assert (await facts.ask(by_owner, before)).rows == []
    assert (await facts.ask(by_owner, after)).rows == [
        ((name("users", 1), name("teams", 1)), {"opportunities_won": "1"})
    ]


async def test_too_many_rows_are_refused(facts: Any) -> None:
    """INVARIANT: an answer has at most 10,000 rows, and says so instead of leaving rows out."""
    await facts.forget()
    async with facts.home.database.connection() as connection:
        await connection.execute(
            "INSERT INTO fact_opportunity (id, state, account, deleted)"
            " SELECT gen_random_uuid(), 'OPEN', gen_random_uuid(), false"
            " FROM generate_series(1, 10001)"
        )
    with pytest.raises(InvalidArgument) as caught:
        await facts.ask(Question(("opportunities_open",), ("account",)))
    assert caught.value.reason == "TOO_MANY_ROWS"
