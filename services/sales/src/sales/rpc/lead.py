"""What happens to leads besides being written."""

from crm.sales.v1 import lead_pb2 as pb
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.field_values import text as clean
from crmkit.picked_values import entry_of
from sales.domain.lead import Lead
from sales.storage.lead import LEADS
from sales.usecases.assign_lead import assign
from sales.usecases.convert_lead import convert


class LeadService:
    """Working on leads, giving them away, converting them; the standard methods come from the kit."""

    async def StartLead(self, request: pb.StartLeadRequest, call: Call) -> pb.Lead:
        """Begins the work."""
        async with LEADS.changing(call, request) as lead:
            lead.start()
        return _message(lead)

    async def NurtureLead(self, request: pb.NurtureLeadRequest, call: Call) -> pb.Lead:
        """Keeps a lead warm."""
        async with LEADS.changing(call, request) as lead:
            lead.nurture()
        return _message(lead)

    async def QualifyLead(self, request: pb.QualifyLeadRequest, call: Call) -> pb.Lead:
        """Says that there is a need."""
        async with LEADS.changing(call, request) as lead:
            lead.qualify()
        return _message(lead)

    async def DisqualifyLead(self, request: pb.DisqualifyLeadRequest, call: Call) -> pb.Lead:
        """Gives a lead up."""
        reason = clean(request.reason, "reason")
        if not reason:
            msg = "Say why it will not become a customer."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="reason")
        async with LEADS.changing(call, request) as lead:
            lead.disqualify(entry_of(call, "disqualify_reason", reason, field="reason"))
        return _message(lead)

    async def ReopenLead(self, request: pb.ReopenLeadRequest, call: Call) -> pb.Lead:
        """Works on a lead again."""
        async with LEADS.changing(call, request) as lead:
            lead.reopen()
        return _message(lead)

    async def AssignLead(self, request: pb.AssignLeadRequest, call: Call) -> pb.Lead:
        """Gives a lead to somebody."""
        return _message(await assign(call, request))

    async def ConvertLead(
        self, request: pb.ConvertLeadRequest, call: Call
    ) -> pb.ConvertLeadResponse:
        """Makes a customer of a lead."""
        lead, replayed = await convert(call, request)
        return pb.ConvertLeadResponse(
            lead=_message(lead),
            account=f"accounts/{lead.account}",
            contact=f"contacts/{lead.contact}" if lead.contact else "",
            opportunity=f"opportunities/{lead.opportunity}" if lead.opportunity else "",
            replayed=replayed,
        )


def _message(lead: Lead) -> pb.Lead:
    message: pb.Lead = LEADS.message(lead)
    return message
