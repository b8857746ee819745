"""What facts refer to: the tree of teams, and what people call things, unless personal."""

from typing import Any

from crm.identity.v1.team_pb2 import Team
from crm.sales.v1.pipeline_pb2 import Pipeline
from crmkit import contract
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.statements import upsert
from reporting.projections.values import id_of
from reporting.storage.facts import dim_label, dim_team

_PUT_TEAM = upsert(dim_team)
_PUT_LABEL = upsert(dim_label)


async def team_changed(event: Event, call: Call) -> None:
    """Keeps the team's place in the tree and its name."""
    team: Team = event.message.team
    await call.tx.execute(
        _PUT_TEAM, {"id": id_of(team.name, "teams"), "parent": id_of(team.parent, "teams")}
    )
    await _put_label(event, call, team.name, team.display_name)


async def pipeline_changed(event: Event, call: Call) -> None:
    """Keeps the names of the pipeline and its stages."""
    pipeline: Pipeline = event.message.pipeline
    await _put_label(event, call, pipeline.name, pipeline.display_name)
    for stage in pipeline.stages:
        await _put_label(event, call, stage.name, stage.display_name)


async def named_record_changed(event: Event, call: Call) -> None:
    """Keeps the record's name; that of a person is not in the event and becomes empty."""
    record: Any = getattr(event.message, contract.events()[event.routing_key].subject_field)
    await _put_label(event, call, record.name, record.display_name)


async def _put_label(event: Event, call: Call, name: str, display_name: str) -> None:
    row = {"name": name, "display_name": display_name, "owner": event.owner, "team": event.team}
    await call.tx.execute(_PUT_LABEL, row)


HANDLERS = {
    "identity.team.*": team_changed,
    "sales.pipeline.*": pipeline_changed,
    "sales.product.*": named_record_changed,
    "marketing.campaign.*": named_record_changed,
}
