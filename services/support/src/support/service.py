"""The support service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from support.rpc.ticket import TicketService
from support.storage.ticket import TICKETS

SERVICE = Service(
    name="support",
    migrations=Path(__file__).parent / "migrations",
    collections=[TICKETS],
    parts=[imports_and_exports, bulk_actions, attachments],
    servicers={"crm.support.v1.TicketService": TicketService()},
)
