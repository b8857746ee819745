"""What happens to contacts besides being written."""

from crm.customer.v1 import contact_pb2
from crmkit.call import Call
from customer.rpc.merge import merge_into, take_back
from customer.storage.contact import CONTACTS


class ContactService:
    """Finding; the standard methods come from the kit."""

    async def LookupContactByExternalId(
        self, request: contact_pb2.LookupContactByExternalIdRequest, call: Call
    ) -> contact_pb2.Contact:
        """Finds a contact by its identifier in another system."""
        found = await CONTACTS.by_external_id(call, request.system, request.external_id)
        message: contact_pb2.Contact = CONTACTS.message(found)
        return message

    async def MergeContacts(
        self, request: contact_pb2.MergeContactsRequest, call: Call
    ) -> contact_pb2.MergeContactsResponse:
        """Makes several contacts one."""
        answer = contact_pb2.MergeContactsResponse()
        await merge_into(call, CONTACTS, request, answer)
        return answer

    async def UnmergeContacts(
        self, request: contact_pb2.UnmergeContactsRequest, call: Call
    ) -> contact_pb2.UnmergeContactsResponse:
        """Takes a merge back."""
        answer = contact_pb2.UnmergeContactsResponse()
        await take_back(call, CONTACTS, request, answer)
        return answer
