"""Mailing a person what waits for them: the job of one due time.

What is mailed is claimed before it is sent and forgotten after it: a process that dies in between has sent it
at most once. Only where the server certainly took nothing is it tried again.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import structlog

from crm.identity.v1 import user_pb2
from crmkit import contract, mail
from crmkit.asking import ask
from crmkit.call import Call
from crmkit.errors import Aborted, FailedPrecondition, NotFound, Unavailable
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from workspace.domain.digest import Line, Reader, compose, record_of
from workspace.domain.preference import due_time
from workspace.storage.notification_mail import (
    claim_lines,
    delete_lines,
    due_lines,
    move_lines,
    release_lines,
    waiting_lines,
)
from workspace.storage.preference import mail_settings_of, wishes_of
from workspace.usecases.titles import titles_for

SEND_MAIL = "mail_notifications"
_GET_USER = "/crm.identity.v1.UserService/GetUser"
_log = structlog.get_logger("crm.notifications")


async def promise_mail(call: Call, user: UUID, due: datetime) -> None:
    """Promises one job for a person and a time, however often it is promised."""
    job = uuid5_of(user, due.isoformat())
    await enqueue(call.tx, SEND_MAIL, {"user": str(user)}, due, job)


async def plan_anew(call: Call, user: UUID) -> None:
    """Sends what waits as the person wants it now."""
    wishes, settings = await wishes_of(call, user), await mail_settings_of(call, user)
    moved = defaultdict(list)
    for line in await waiting_lines(call, user):
        wish = wishes[line.kind].email
        due = due_time(wish, settings, call.organization.zone, call.now) if wish != "OFF" else None
        moved[due].append(line.id)
    for due, ids in moved.items():
        if due is None:
            await delete_lines(call.tx, ids)
        else:
            await move_lines(call, ids, due)
            await promise_mail(call, user, due)


async def mail_notifications(call: Call, arguments: dict[str, Any]) -> None:
    """The job: one mail with everything that is due; raises Unavailable to be run again."""
    database, user = call.home.database, UUID(arguments["user"])
    lines = await due_lines(database, user, call.now)
    known = call.home.rights.users.get(user)
    wanted = [line for line in lines if not line.seen] if known and known.active else []
    titles = await _titles(call, user, wanted) if wanted else {}
    told = [line for line in wanted if record_of(line) is None or record_of(line) in titles]
    message = await _message(call, user, told, titles) if told else None
    if message is not None:
        await _send_once(call, [line.id for line in told], message)
    await delete_lines(call.tx, [line.id for line in lines])


async def _titles(call: Call, user: UUID, lines: Sequence[Line]) -> dict[str, str]:
    """The records that the person may read now, and whoever acted, by what people call them."""
    person = replace(call, principal=call.home.rights.principal(user))
    names = {name for line in lines if (name := record_of(line))}
    people = {user for line in lines for user in (line.actor, line.deputy_for) if user}
    names |= {f"users/{user}" for user in people}
    return await titles_for(person, names)


async def _message(
    call: Call, user: UUID, lines: Sequence[Line], titles: dict[str, str]
) -> mail.Mail | None:
    """The mail; None for somebody without an address."""
    organization, settings = call.organization, await mail_settings_of(call, user)
    reader = Reader(
        language_code=settings.language_code or organization.language_code,
        zone=settings.zone(organization.zone),
        organization=organization.display_name or "CRM",
        link=call.home.settings.public_url,
    )
    address = await _address(call, user)
    return mail.Mail(address, *compose(lines, titles, reader)) if address else None


async def _address(call: Call, user: UUID) -> str:
    """Where the person gets mail; identity alone knows."""
    service = contract.services()["crm.identity.v1.UserService"]
    method = next(m for m in contract.methods_of(service) if m.path == _GET_USER)
    try:
        found = await ask(call, method, user_pb2.GetUserRequest(name=f"users/{user}"))
    except NotFound:
        return ""
    return str(found.email) if found.kind != user_pb2.User.SERVICE else ""


async def _send_once(call: Call, ids: Sequence[UUID], message: mail.Mail) -> None:
    """Claims, then sends; what the server refuses for good, or may have taken, is not sent again."""
    home = call.home
    async with home.database.transaction() as tx:
        if await claim_lines(tx, ids) != len(ids):
            msg = "Somebody else sends some of it."
            raise Aborted(msg)
    try:
        await mail.send(home.settings, message)
    except FailedPrecondition as failure:
        _log.warning("mail not sent", reason=failure.reason)
    except Unavailable as failure:
        if failure.reason != "MAIL_OUTCOME_UNKNOWN":
            await _release(call, ids)
            raise
        _log.warning("nobody knows whether a mail was taken", reason=failure.reason)


async def _release(call: Call, ids: Iterable[UUID]) -> None:
    async with call.home.database.transaction() as tx:
        await release_lines(tx, list(ids))
