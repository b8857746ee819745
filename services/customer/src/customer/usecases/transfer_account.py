"""An account's new owner, and that of its contacts."""

from uuid import UUID

from crm.customer.v1 import account_pb2
from crmkit import references
from crmkit.call import Call
from crmkit.field_codecs import Reference
from customer.domain.account import Account
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS


async def transfer(call: Call, request: account_pb2.TransferAccountRequest, owner: UUID) -> Account:
    """Gives an account to another owner, with the former owner's contacts unless they are to stay."""
    await references.check(call, [Reference("users", owner, "owner")])
    async with ACCOUNTS.changing(call, request) as account:
        previous = account.transfer(owner)
    if previous is not None and not request.without_contacts:
        for contact_id in await CONTACTS.of_owner(call, account.id, previous):
            contact = await CONTACTS.for_change(call, contact_id)
            contact.owner = owner
            await CONTACTS.save(call, contact)
    return account
