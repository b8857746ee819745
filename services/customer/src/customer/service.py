"""The customer service's table of contents."""

from pathlib import Path

from crmattachments.part import attachments
from crmkit.service import Service
from crmtransfer.part import bulk_actions, imports_and_exports
from customer.messaging.consumed import HANDLERS
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS

SERVICE = Service(
    name="customer",
    migrations=Path(__file__).parent / "migrations",
    collections=[ACCOUNTS, CONTACTS],
    parts=[imports_and_exports, bulk_actions, attachments],
    consumes=HANDLERS,
)
