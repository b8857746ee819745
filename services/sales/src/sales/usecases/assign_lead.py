"""Leads given to people."""

from uuid import UUID

from crm.sales.v1 import lead_pb2
from crmkit import references
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.field_codecs import Reference
from crmkit.names import parse_name
from sales.domain.lead import Lead
from sales.storage.lead import LEADS, least_loaded


async def assign(call: Call, request: lead_pb2.AssignLeadRequest) -> Lead:
    """Gives a lead to a person, or to the one of a team who has the fewest open ones."""
    if bool(request.owner) == bool(request.team):
        msg = "Say either who gets it, or of which team somebody gets it."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="owner")
    if request.owner:
        owner = parse_name(request.owner, collection="users", field="owner")
        await references.check(call, [Reference("users", owner, "owner")])
    else:
        team = parse_name(request.team, collection="teams", field="team")
        await references.check(call, [Reference("teams", team, "team")])
        owner = await _somebody_of(call, team)
    async with LEADS.changing(call, request) as lead:
        lead.assign(owner)
    return lead


async def _somebody_of(call: Call, team: UUID) -> UUID:
    users = call.home.rights.users.items()
    owner = await least_loaded(
        call, [u for u, known in users if known.active and known.team == team]
    )
    if owner is None:
        msg = "Nobody works in the team."
        raise FailedPrecondition(msg, reason="TEAM_EMPTY", field="team")
    return owner
