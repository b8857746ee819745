"""What happens to tickets besides being written."""

from crm.support.v1 import ticket_pb2
from crmkit.call import Call
from support.domain.ticket import Ticket
from support.storage.ticket import TICKETS

_STATES = {number: name for name, number in ticket_pb2.Ticket.State.items()}


class TicketService:
    """Starting, waiting, resolving and so on; the standard methods come from the kit."""

    async def StartTicket(
        self, request: ticket_pb2.StartTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Begins work."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.start()
        return _message(ticket)

    async def WaitTicket(
        self, request: ticket_pb2.WaitTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Parks a ticket until somebody answers."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.wait(_STATES.get(request.waiting_state, ""))
        return _message(ticket)

    async def ResumeTicket(
        self, request: ticket_pb2.ResumeTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Takes a waiting ticket up again."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.resume()
        return _message(ticket)

    async def ResolveTicket(
        self, request: ticket_pb2.ResolveTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Marks a ticket as solved."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.resolve(call.now, request.resolution)
        return _message(ticket)

    async def CloseTicket(
        self, request: ticket_pb2.CloseTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Ends a resolved ticket."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.close(call.now)
        return _message(ticket)

    async def ReopenTicket(
        self, request: ticket_pb2.ReopenTicketRequest, call: Call
    ) -> ticket_pb2.Ticket:
        """Opens a solved ticket again."""
        async with TICKETS.changing(call, request) as ticket:
            ticket.reopen()
        return _message(ticket)


def _message(ticket: Ticket) -> ticket_pb2.Ticket:
    message: ticket_pb2.Ticket = TICKETS.message(ticket)
    return message
