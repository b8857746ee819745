"""Erasing a contact in every service: asked for in one transaction, ended in one; between them, repeated."""

from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import grpc

from crm.common.v1 import personal_data_pb2
from crm.customer.v1 import privacy_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.ids import uuid5_of, uuid7
from crmkit.jobs import enqueue
from crmkit.personal.erase import erase, erase_own
from crmkit.personal.erasure import heard_of, promise_second_look
from crmkit.personal.others import with_others
from crmkit.personal.reach import find
from crmkit.personal.service import counts
from crmkit.personal.subject import Found, Subject
from customer.domain.contact import Contact
from customer.domain.erasure import OWN, Erasure, Part, refuse_erased
from customer.storage.contact import CONTACTS
from customer.storage.erasure import (
    go_on,
    insert_erasure,
    lock_erasure,
    running_erasure,
    save_erasure,
)
from customer.storage.search_upkeep import forget_lost_words
from customer.usecases.export_personal_data import remove_archives
from customer.usecases.personal_subject import subject_of

FORGET = "forget_erased_addresses"  # the kind of the job
# Longer than it takes until every service has looked a second time.
_LOOKED_FOR = timedelta(hours=1)
_CONFIRMED = ".erasure.confirmed"
_COUNT = "/crm.common.v1.PersonalDataService/CountPersonalData"


def taking_part(call: Call) -> list[str]:
    """The other services of this deployment; each confirms."""
    told = {key.partition(".")[0] for key in contract.events() if key.endswith(_CONFIRMED)}
    return sorted(told & call.home.settings.services.keys())


async def request_erasure(call: Call, request: privacy_pb2.EraseContactRequest) -> Erasure:
    """Moves the contact to the trash and tells every service to erase."""
    contact = await CONTACTS.for_change(call, request.name, request.etag, deleted=True)
    refuse_erased(contact.erase_time, await running_erasure(call.tx, contact.id))
    subject = await subject_of(call, call.tx, contact)
    parts = [Part(service) for service in [*taking_part(call), OWN]]
    by = call.principal.user
    erasure = _erasure(contact, subject, request.reason, by, call.now)
    erasure.parts = parts
    await insert_erasure(call, erasure)
    contact.delete_time = contact.delete_time or call.now  # nothing new refers to them
    contact.record("erasure_requested", erasure=erasure.name)
    await CONTACTS.save(call, contact, "deleted")
    await go_on(call, erasure)
    return erasure


async def preview(call: Call, request: privacy_pb2.EraseContactRequest) -> Erasure:
    """What would be erased, by service; nothing is written, and who cannot be asked is said."""
    contact = await CONTACTS.get(call, request.name)
    refuse_erased(contact.erase_time, await running_erasure(call.reader, contact.id))
    subject = await subject_of(call, call.reader, contact)
    parts = [await _counted(call, service, subject) for service in taking_part(call)]
    try:
        own = await find(call.home, await with_others(call.home, subject))
        parts.append(Part(OWN, counts=_totals(counts(own))))
    except Failure:
        parts.append(Part(OWN, "UNREACHABLE"))
    erasure = _erasure(contact, subject, request.reason, None, call.now)
    erasure.parts = parts
    return erasure


def _erasure(
    contact: Contact, subject: Subject, reason: str, by: UUID | None, now: datetime
) -> Erasure:
    texts = list(subject.texts)
    return Erasure(uuid7(), contact.id, subject.names, texts, reason.strip(), by, now)


async def _counted(call: Call, service: str, subject: Subject) -> Part:
    clients = call.home.clients
    try:
        answer = await clients.call(
            service,
            _COUNT,
            personal_data_pb2.CountPersonalDataRequest(subject=subject.message()),
            personal_data_pb2.CountPersonalDataResponse,
            metadata=clients.as_service(),
        )
    except grpc.aio.AioRpcError:
        return Part(service, "UNREACHABLE")
    return Part(service, counts=_totals(answer.counts))


def _totals(counted: Any) -> dict[str, int]:
    return {one.collection: one.count for one in counted}


async def erase_last(call: Call, arguments: dict[str, Any]) -> None:
    """The job: erases here what is left, then the person; the end commits with the job's."""
    id_ = UUID(arguments["erasure"])
    async with call.home.database.transaction() as tx:
        erasure = await lock_erasure(tx, id_)
    if erasure is None or erasure.state != "RUNNING":
        return
    message = personal_data_pb2.PersonalDataSubject(names=erasure.names, texts=erasure.texts)
    person = Subject.of(message)
    await remove_archives(call.home, sorted(person.records["contacts"]))
    others = await with_others(call.home, person)
    found = await erase(call.home, others, heard_of(arguments))
    while await forget_lost_words(call.home):  # the words that they were searched by
        pass
    await _end(call, erasure.id, found)


async def _end(call: Call, id_: UUID, found: Found) -> None:
    erasure = await lock_erasure(call.tx, id_)
    if erasure is None or erasure.state != "RUNNING":  # another worker was faster
        return

    def leave(entity: Any) -> None:
        entity.external_ids, entity.erase_time = {}, call.now
        entity.delete_time = entity.delete_time or call.now
        if entity.id == erasure.contact:
            entity.record("erased", erasure=erasure.name)

    for name in ("accounts", "contacts"):
        for record in found.own.get(name, ()):
            await erase_own(call, name, record, "updated", leave)
    erasure.confirm(OWN, _totals(counts(found)), call.now)
    erasure.end(call.now)
    await save_erasure(call, erasure)
    await promise_second_look(call, erasure.name)
    job_id, due = uuid5_of(id_, FORGET), call.now + _LOOKED_FOR
    await enqueue(call.tx, FORGET, {"erasure": str(id_)}, due, job_id)


async def forget_addresses(call: Call, arguments: dict[str, Any]) -> None:
    """The job: forgets the last that was known of the person, once every service has looked again."""
    erasure = await lock_erasure(call.tx, UUID(arguments["erasure"]))
    if erasure is not None:
        erasure.texts = []
        await save_erasure(call, erasure)
