"""The consent ledger: recording, and what holds now or held at an instant."""

from datetime import datetime

from crm.customer.v1 import consent_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.resources import draft
from customer.storage.consent import CONSENTS, deciding, did_not_want_calls, reached_contacts
from customer.storage.contact import CONTACTS

# A client takes messages of 4 MiB.
_LARGEST_ANSWER = 3 * 1024 * 1024


class ConsentService:
    """What the ledger does; reading entries comes from the kit."""

    async def RecordConsent(
        self, request: consent_pb2.RecordConsentRequest, call: Call
    ) -> consent_pb2.Consent:
        """Somebody allowed something, or took it back."""
        consent = await CONSENTS.insert(call, await draft(CONSENTS, call, request.consent))
        message: consent_pb2.Consent = CONSENTS.message(consent)
        return message

    async def GetConsentState(
        self, request: consent_pb2.GetConsentStateRequest, call: Call
    ) -> consent_pb2.GetConsentStateResponse:
        """What a contact allows, with the entries that decide."""
        permission = CONTACTS.permission("get")
        contact = await CONTACTS.get(call, request.contact, permission=permission, field="contact")
        whose = [(contact.id, contact.owner, contact.team)]
        if not await reached_contacts(call, CONSENTS.permission("get"), whose):
            raise CONTACTS.not_found(request.contact)
        asked = CONSENTS.codec.read(request, ["channel", "purpose", "effective_time"])
        by: datetime | None = asked["effective_time"]
        silent = await did_not_want_calls(call, contact, by)
        answer = consent_pb2.GetConsentStateResponse(do_not_call=silent)
        found = await deciding(call, contact.id, asked["channel"], asked["purpose"] or None, by)
        for consent in found:
            message = CONSENTS.message(consent)
            forbidden = silent and consent.channel == "PHONE"
            answer.states.add(
                channel=message.channel,
                purpose=message.purpose,
                decision=message.decision,
                allowed=consent.decision == "GRANTED" and not forbidden,
                consent=message,
            )
        if answer.ByteSize() > _LARGEST_ANSWER:
            msg = "The answer would be larger than 3 MiB: ask for one channel or purpose."
            raise InvalidArgument(msg, reason="ANSWER_TOO_LARGE", field="channel")
        return answer
