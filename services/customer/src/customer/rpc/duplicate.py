"""What people do with sets of duplicates: deciding them, and asking before they create a record."""

from dataclasses import replace
from typing import Any

from crm.customer.v1 import duplicate_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.resources import draft
from crmkit.sensitive import hidden_in
from customer.domain.duplicate import DuplicateReason, reasons_of
from customer.domain.profile import Profile, of_account, of_contact
from customer.storage.account import ACCOUNTS
from customer.storage.contact import CONTACTS
from customer.storage.duplicate import DUPLICATE_SETS
from customer.usecases.find_duplicates import KINDS, dismiss, search

_LEAST_SCORE = 0.1
_MOST_MATCHES = 20


class DuplicateSetService:
    """Dismissing and searching; reading sets comes from the kit."""

    async def DismissDuplicateSet(
        self, request: duplicate_pb2.DismissDuplicateSetRequest, call: Call
    ) -> duplicate_pb2.DuplicateSet:
        """Says that the members of a set are not the same."""
        message: duplicate_pb2.DuplicateSet = DUPLICATE_SETS.message(await dismiss(call, request))
        return message

    async def SearchDuplicates(
        self, request: duplicate_pb2.SearchDuplicatesRequest, call: Call
    ) -> duplicate_pb2.SearchDuplicatesResponse:
        """Finds what may be the same as a record, or as one that does not exist yet."""
        DUPLICATE_SETS.scope(call, DUPLICATE_SETS.permission("search"))
        profile = await _asked(request, call)
        resource = "accounts" if profile.firm else "contacts"
        least = request.min_score or _LEAST_SCORE
        answer = duplicate_pb2.SearchDuplicatesResponse()
        found = await search(call, resource, profile)
        for other, likeness in [f for f in found if f[1].score >= least][:_MOST_MATCHES]:
            match = answer.matches.add(
                record=f"{resource}/{other.id}",
                score=likeness.score,
                duplicate=likeness.is_duplicate,
            )
            match.reasons.extend(_message(reason) for reason in reasons_of(likeness))
        return answer


async def _asked(request: duplicate_pb2.SearchDuplicatesRequest, call: Call) -> Profile:
    """What the record asked for is like."""
    given = [bool(request.record), request.HasField("contact"), request.HasField("account")]
    if sum(given) != 1:
        msg = "Exactly one of record, contact and account is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="record")
    if request.record:
        return await _stored(request.record, call)
    if request.HasField("account"):
        account = await draft(ACCOUNTS, call, request.account)
        if account.is_person:
            msg = "A private person is asked for as a contact."
            raise InvalidArgument(msg, field="account.kind")
        account.settle_points(call.organization.region_code)
        account.check()
        return _without_hidden(call, of_account(account))
    contact = await draft(CONTACTS, call, request.contact)
    contact.settle_points(call.organization.region_code)
    contact.check()
    contact.settle_accounts(None)
    return of_contact(contact)


async def _stored(name: str, call: Call) -> Profile:
    resource = name.partition("/")[0]
    if resource not in KINDS:
        msg = "record must be a contact or an account."
        raise InvalidArgument(msg, field="record")
    collection, profile_of = KINDS[resource]
    permission = collection.permission("get")
    record: Any = await collection.get(call, name, permission=permission, field="record")
    if resource == "accounts" and record.is_person:
        person = await CONTACTS.person_of(call, record.id)
        return of_contact(person) if person is not None else of_account(record)
    return _without_hidden(call, profile_of(record))


def _without_hidden(call: Call, profile: Profile) -> Profile:
    """Nobody finds out by asking which tax number an account has that they may not see."""
    hidden = hidden_in(call.principal, ACCOUNTS.contract, RecordScope.ALL)
    return replace(profile, tax_id="") if "tax_id" in hidden else profile


def _message(reason: DuplicateReason) -> duplicate_pb2.DuplicateReason:
    return duplicate_pb2.DuplicateReason(
        field=reason.field,
        finding=reason.finding,
        description=reason.description,
        similarity=reason.similarity,
        weight=reason.weight,
    )
