"""What happens to opportunities besides being written."""

from crm.sales.v1 import opportunity_pb2
from crmkit.call import Call
from crmkit.picked_values import entry_of
from sales.domain.opportunity import Opportunity
from sales.storage.opportunity import OPPORTUNITIES, pipeline_of


class OpportunityService:
    """Moving, winning, losing and reopening; the standard methods come from the kit."""

    async def MoveOpportunity(
        self, request: opportunity_pb2.MoveOpportunityRequest, call: Call
    ) -> opportunity_pb2.Opportunity:
        """Goes to another open stage."""
        async with OPPORTUNITIES.changing(call, request) as opportunity:
            opportunity.move(await pipeline_of(call, opportunity), request.stage)
        return _message(opportunity)

    async def WinOpportunity(
        self, request: opportunity_pb2.WinOpportunityRequest, call: Call
    ) -> opportunity_pb2.Opportunity:
        """Closes as won."""
        async with OPPORTUNITIES.changing(call, request) as opportunity:
            opportunity.win(await pipeline_of(call, opportunity), call.now)
        return _message(opportunity)

    async def LoseOpportunity(
        self, request: opportunity_pb2.LoseOpportunityRequest, call: Call
    ) -> opportunity_pb2.Opportunity:
        """Closes as lost."""
        async with OPPORTUNITIES.changing(call, request) as opportunity:
            reason = entry_of(call, "lost_reason", request.reason, field="reason")
            opportunity.lose(await pipeline_of(call, opportunity), call.now, reason)
        return _message(opportunity)

    async def ReopenOpportunity(
        self, request: opportunity_pb2.ReopenOpportunityRequest, call: Call
    ) -> opportunity_pb2.Opportunity:
        """Opens again where it stood."""
        async with OPPORTUNITIES.changing(call, request) as opportunity:
            opportunity.reopen(await pipeline_of(call, opportunity))
        return _message(opportunity)


def _message(opportunity: Opportunity) -> opportunity_pb2.Opportunity:
    message: opportunity_pb2.Opportunity = OPPORTUNITIES.message(opportunity)
    return message
