"""Where tickets are kept, and where their numbers come from."""

import sqlalchemy as sa

from crm.support.v1 import ticket_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.following import recorded_index
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from support.domain.ticket import Ticket
from support.storage.schema import SUPPORT

# Gaps are allowed: a ticket that is not stored after all takes its number with it.
ticket_numbers = sa.Sequence("ticket_numbers", metadata=SUPPORT)

tickets = record_table(
    "tickets",
    SUPPORT,
    sa.Column("number", TEXT, nullable=False),
    sa.Column("subject", TEXT, nullable=False),
    sa.Column("description", TEXT),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("priority", TEXT, nullable=False),
    sa.Column("category", TEXT),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("account", sa.Uuid),
    sa.Column("account_as_recorded", sa.Uuid),
    sa.Column("contact", sa.Uuid),
    sa.Column("contact_as_recorded", sa.Uuid),
    sa.Column("open_time", TIMESTAMP, nullable=False),
    sa.Column("resolve_time", TIMESTAMP),
    sa.Column("close_time", TIMESTAMP),
    sa.Column("reopen_count", sa.Integer, nullable=False),
    sa.Column("resolution", TEXT),
    sa.Index("uq_tickets_number", "number", unique=True),
    sa.Index("ix_tickets_account", "account", "id"),
    sa.Index("ix_tickets_contact", "contact", "id"),
    *recorded_index("tickets", "account"),
    *recorded_index("tickets", "contact"),
    sa.Index("ix_tickets_state", "state", "id"),
)

_NEXT_NUMBER = compile_statement(sa.select(ticket_numbers.next_value()))


async def begin_new_tickets(call: Call, after: Ticket, before: Ticket | None) -> None:
    """A new ticket gets its number; an imported one tells its history."""
    if before is not None:
        return
    row = await call.reader.fetch_one(_NEXT_NUMBER)
    after.begin(row[0] if row else 0)
    if call.imported:
        after.tell_history()


TICKETS = Collection(
    ticket_pb2.Ticket,
    Ticket,
    tickets,
    natural_key="number",
    rule=begin_new_tickets,
    import_fields=["state", "open_time", "resolve_time", "close_time"],
)
