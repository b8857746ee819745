"""Tickets: events to facts."""

from crm.support.v1.ticket_pb2 import Ticket
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.statements import upsert
from reporting.projections.values import id_of, time_of
from reporting.storage.facts import fact_ticket

_PUT = upsert(fact_ticket)


async def ticket_changed(event: Event, call: Call) -> None:
    """Replaces the facts of a ticket by what it is after the event."""
    ticket: Ticket = event.message.ticket
    await call.tx.execute(
        _PUT,
        {
            "id": id_of(ticket.name, "tickets"),
            "state": Ticket.State.Name(ticket.state),
            "account": id_of(ticket.account, "accounts"),
            "owner": id_of(ticket.owner, "users"),
            "team": id_of(ticket.team, "teams"),
            "open_time": time_of(ticket, "open_time"),
            "deleted": ticket.HasField("delete_time"),
        },
    )


HANDLERS = {"support.ticket.*": ticket_changed}
