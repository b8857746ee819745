"""A service's part of an erasure: promised when it hears of one, done as a job, confirmed by an event.

A second look follows when the person is erased everywhere: at what was written while it went on, by requests
that had begun before this service heard of it.
"""

from datetime import datetime, timedelta
from time import time_ns
from typing import Any

import grpc

from crm.common.v1 import personal_data_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.clients import unavailable
from crmkit.errors import ContractError
from crmkit.feed import outbox
from crmkit.feed.events import Event
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from crmkit.names import parse_name
from crmkit.personal.declaration import OWNER
from crmkit.personal.erase import erase
from crmkit.personal.others import with_others
from crmkit.personal.service import counts
from crmkit.personal.subject import Found, Subject
from crmkit.publishing import new_event

COLLECTION = "erasures"
JOB, AGAIN = "erase_person", "erase_person_again"
# Longer than any request may take, and a batch of an import.
_SECOND_LOOK = timedelta(seconds=60)
_GET_SUBJECT = "/crm.common.v1.ErasureSubjectService/GetErasureSubject"


async def _requested(event: Event, call: Call) -> None:
    id_ = parse_name(event.message.erasure, collection=COLLECTION, field="erasure")
    arguments = {"erasure": str(id_), **heard_now(call)}
    await enqueue(call.tx, JOB, arguments, job_id=uuid5_of(id_, JOB))


async def _ended(event: Event, call: Call) -> None:
    await promise_second_look(call, event.message.erasure)


HANDLERS = {
    f"{OWNER}.contact.erasure_requested": _requested,
    f"{OWNER}.contact.erased": _ended,
}


async def promise_second_look(call: Call, erasure: str) -> None:
    """Promises to look again at what was written while an erasure went on."""
    id_ = parse_name(erasure, collection=COLLECTION, field="erasure")
    due = call.now + _SECOND_LOOK
    arguments = {"erasure": str(id_), **heard_now(call)}
    await enqueue(call.tx, AGAIN, arguments, due, uuid5_of(id_, AGAIN))


def heard_now(call: Call) -> dict[str, str]:
    """An argument of a job: runs that begin after it was promised are not waited for."""
    return {"heard": call.now.isoformat()}


def heard_of(arguments: dict[str, Any]) -> datetime | None:
    """When a job was promised; None for one of an earlier release."""
    return datetime.fromisoformat(arguments["heard"]) if "heard" in arguments else None


async def erase_and_confirm(call: Call, arguments: dict[str, Any]) -> None:
    """The job: erases here, then confirms with the end of the job; repeated until it is done."""
    name = f"{COLLECTION}/{arguments['erasure']}"
    subject = await with_others(call.home, await _subject(call, name))
    await _confirm(call, name, await erase(call.home, subject, heard_of(arguments)))


async def erase_again(call: Call, arguments: dict[str, Any]) -> None:
    """The job of the second look; nothing is confirmed a second time."""
    subject = await _subject(call, f"{COLLECTION}/{arguments['erasure']}")
    await erase(call.home, await with_others(call.home, subject), heard_of(arguments))


async def _subject(call: Call, erasure: str) -> Subject:
    """Whom to erase; raises Unavailable while their owner cannot be reached."""
    clients = call.home.clients
    try:
        message = await clients.call(
            OWNER,
            _GET_SUBJECT,
            personal_data_pb2.GetErasureSubjectRequest(erasure=erasure),
            personal_data_pb2.PersonalDataSubject,
            metadata=clients.as_service(),
        )
    except grpc.aio.AioRpcError as error:
        raise unavailable(OWNER) from error
    return Subject.of(message)


async def _confirm(call: Call, erasure: str, found: Found) -> None:
    routing_key = f"{call.home.name}.erasure.confirmed"
    declared = contract.events().get(routing_key)
    if declared is None:
        msg = f"no event message declares {routing_key}"
        raise ContractError(msg)
    message: Any = declared.message()
    message.confirmation.erasure = erasure
    message.confirmation.counts.extend(counts(found))
    event = new_event(
        call,
        routing_key=routing_key,
        message=message,
        subject=erasure,
        subject_version=time_ns() // 1000,  # a repeat confirms once more
        event_index=0,
        owner=None,
        team=None,
    )
    await outbox.append(call.tx, [event])
