"""MetricService over gRPC: what a front end may rely on."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import grpc
import pytest
from google.type.money_pb2 import Money

from crm.customer.v1.account_pb2 import Account, AccountCreated
from crm.identity.v1.organization_pb2 import Organization, OrganizationUpdated
from crm.identity.v1.team_pb2 import Team, TeamCreated
from crm.reporting.v1 import metric_pb2 as pb
from crm.reporting.v1.metric_pb2_grpc import MetricServiceStub
from crm.sales.v1.opportunity_pb2 import Opportunity, OpportunityCreated
from crmkit.clock import now
from crmkit.testing.harness import details_of
from crmkit.testing.polling import eventually

MARCH = datetime(2017, 3, 1, tzinfo=UTC)
USD_10 = Money(currency_code="USD", units=10)


def won(owner: UUID | None = None, team: UUID | None = None, **fields: Any) -> OpportunityCreated:
    one = Opportunity(
        name=f"opportunities/{uuid4()}", state=Opportunity.WON, close_time=MARCH, amount=USD_10,
        owner=f"users/{owner}" if owner else "", team=f"teams/{team}" if team else "", **fields,
    )  # fmt: skip
    return OpportunityCreated(opportunity=one)


async def query(reporting: Any, metadata: Any = None, **request: Any) -> pb.QueryMetricsResponse:
    stub = MetricServiceStub(reporting.service.channel)
    answer: pb.QueryMetricsResponse = await stub.QueryMetrics(
        pb.QueryMetricsRequest(**request), metadata=metadata or reporting.metadata
    )
    return answer


async def test_an_answer_has_rows_labels_currency_and_its_own_age(reporting: Any) -> None:
    """INVARIANT: decision 29's shape; nothing later than `data_time` is promised."""
    account = f"accounts/{uuid4()}"
    acme = Account(name=account, kind=Account.ORGANISATION, display_name="Acme")
    before = now()
    await reporting.publish(
        AccountCreated(account=acme), won(account=account), won(account=account)
    )
    answer = await query(
        reporting, metrics=["won_amount", "opportunities_won"], group_by=["month", "account"]
    )
    assert [(dict(row.dimensions), dict(row.values)) for row in answer.rows] == [
        (
            {"month": "2017-03", "account": account},
            {"won_amount": "20.0000", "opportunities_won": "2"},
        )
    ]
    assert dict(answer.labels) == {account: "Acme"}
    assert (answer.currency_code, answer.time_zone) == ("USD", "UTC")

    async def level() -> bool:
        answer = await query(reporting, metrics=["won_amount"])
        return answer.data_time.ToDatetime(tzinfo=UTC) >= before and not answer.partial_sources

    await eventually(level)
    assert timedelta(0) <= answer.lag.ToTimedelta()


async def test_months_and_days_are_those_of_the_organisation_or_of_the_zone_asked_for(
    reporting: Any,
) -> None:
    """INVARIANT: what was won on the first of March in Shanghai counts for March there."""
    close = datetime(2017, 2, 28, 23, 30, tzinfo=UTC)
    settings = Organization(name="organization", time_zone="Asia/Shanghai")
    deal = won()
    deal.opportunity.close_time.FromDatetime(close)
    await reporting.publish(OrganizationUpdated(organization=settings), deal)
    asked = {"metrics": ["opportunities_won"], "group_by": ["month", "day"]}
    for zone, day in {"": "2017-03-01", "UTC": "2017-02-28", "Asia/Tokyo": "2017-03-01"}.items():
        answer = await query(reporting, **asked, time_zone=zone)
        assert dict(answer.rows[0].dimensions) == {"month": day[:7], "day": day}
        assert answer.time_zone == (zone or "Asia/Shanghai")
    only = await query(reporting, **asked, filter='day = "2017-03-01"')
    assert len(only.rows) == 1
    none = await query(reporting, **asked, filter='day = "2017-03-01"', time_zone="UTC")
    assert not none.rows


async def test_a_source_that_cannot_be_had_is_named(reporting: Any) -> None:
    """INVARIANT: an answer never hides that it may be incomplete."""
    await reporting.publish(won())

    async def nothing_is_missing() -> bool:
        return not (await query(reporting, metrics=["won_amount"])).partial_sources

    await eventually(nothing_is_missing)
    consumed = reporting.service.running.home.consumed
    consumed["sales"].data_time = now() - timedelta(minutes=1)
    answer = await query(reporting, metrics=["won_amount"])
    assert list(answer.partial_sources) == ["sales"]
    assert answer.lag.ToTimedelta() >= timedelta(seconds=59)


@pytest.mark.parametrize(("scope", "seen"), [("OWN", 1), ("TEAM", 2), ("SUBTREE", 3), ("ALL", 5)])
async def test_everyone_sees_the_records_within_their_scope_only(
    reporting: Any, scope: str, seen: int
) -> None:
    """INVARIANT: reports apply the record scope that lists apply."""
    team = await reporting.service.team()
    below = await reporting.service.team(parent=team)
    elsewhere = await reporting.service.team()
    ada = await reporting.service.person(("reporting.*", scope), team=team)
    await reporting.publish(
        won(ada.id, team), won(uuid4(), team), won(uuid4(), below), won(uuid4(), elsewhere), won()
    )
    answer = await query(reporting, ada.metadata, metrics=["opportunities_won", "won_amount"])
    assert dict(answer.rows[0].values) == {
        "opportunities_won": str(seen), "won_amount": f"{10 * seen}.0000",
    }  # fmt: skip


async def test_a_manager_and_a_region_are_a_team_and_its_parent(reporting: Any) -> None:
    region, manager = uuid4(), uuid4()
    teams = [
        Team(name=f"teams/{region}", display_name="West"),
        Team(name=f"teams/{manager}", display_name="Celia", parent=f"teams/{region}"),
    ]
    await reporting.publish(*(TeamCreated(team=team) for team in teams), won(team=manager))
    answer = await query(reporting, metrics=["won_amount"], group_by=["parent_team", "team"])
    assert dict(answer.rows[0].dimensions) == {
        "parent_team": f"teams/{region}", "team": f"teams/{manager}",
    }  # fmt: skip
    assert sorted(answer.labels.values()) == ["Celia", "West"]


async def test_names_of_people_are_asked_for_with_the_callers_rights(reporting: Any) -> None:
    """INVARIANT: who may not see a person's name gets the numbers without it."""
    owner = uuid4()
    await reporting.publish(won(owner))
    reporting.feeds.people = {f"users/{owner}": "Ada"}
    ada = await reporting.service.person("*")
    reporting.feeds.asked_as = dict(ada.metadata)["authorization"]
    asked = {"metrics": ["won_amount"], "group_by": ["owner"]}
    seen = await query(reporting, ada.metadata, **asked)
    assert dict(seen.labels) == {f"users/{owner}": "Ada"}
    unseen = await query(reporting, **asked)
    assert not unseen.labels
    assert list(unseen.rows) == list(seen.rows)


@pytest.mark.parametrize(
    ("request_", "reason", "field"),
    [
        ({"metrics": ["money"]}, "INVALID_FIELD", "metrics[0]"),
        ({"metrics": ["won_amount"], "group_by": ["colour"]}, "INVALID_FIELD", "group_by[0]"),
        ({"metrics": ["won_amount"], "filter": "((("}, "INVALID_FILTER", "filter"),
        ({"metrics": ["won_amount"], "currency_code": "XYZ"}, "INVALID_FIELD", "currency_code"),
        ({"metrics": ["won_amount"], "time_zone": "Mars"}, "UNKNOWN_TIME_ZONE", "time_zone"),
        (
            {
                "metrics": ["won_amount"],
                "time_range": {"start_time": MARCH, "end_time": MARCH - timedelta(days=1)},
            },
            "INVALID_FIELD",
            "time_range.end_time",
        ),
    ],
)
async def test_a_wrong_question_names_its_fault(
    reporting: Any, request_: dict[str, Any], reason: str, field: str
) -> None:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await query(reporting, **request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    details = details_of(caught.value)
    assert (details["reason"], details["fields"]) == (reason, [field])


async def test_the_catalogue_says_what_each_number_is(reporting: Any) -> None:
    stub = MetricServiceStub(reporting.service.channel)
    listed = await stub.ListMetrics(pb.ListMetricsRequest(), metadata=reporting.metadata)
    assert [metric.name for metric in listed.metrics] == sorted(m.name for m in listed.metrics)
    for metric in listed.metrics:
        read = await stub.GetMetric(
            pb.GetMetricRequest(name=metric.name), metadata=reporting.metadata
        )
        assert read == metric
        assert metric.description
        assert metric.unit
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.GetMetric(pb.GetMetricRequest(name="metrics/none"), metadata=reporting.metadata)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
