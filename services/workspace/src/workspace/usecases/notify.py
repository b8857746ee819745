"""Telling somebody something, in the transaction in which it happened: in the console, by e-mail."""

from typing import Any
from uuid import UUID

from crmkit import mail
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.ids import uuid5_of, uuid7
from workspace.domain.digest import Line
from workspace.domain.preference import due_time
from workspace.queries.visibility import may_read_record
from workspace.storage.known_absence import deputy_of
from workspace.storage.notification import NOTIFICATIONS
from workspace.storage.notification_mail import put_line
from workspace.storage.preference import mail_settings_of, wishes_of
from workspace.usecases.mail_notifications import promise_mail


async def notify(
    call: Call,
    user: UUID | None,
    kind: str,
    *,
    record_id: UUID | None = None,
    event: Event | None = None,
    **values: Any,
) -> str | None:
    """Makes a notification for a user who may sign in and wants this kind.

    While they are away their deputy is told as well, if they may read the record that the event is about; not
    in words that were meant for one reader.

    Args:
        call: Work of this service, not of a person.
        user: Whom to tell.
        kind: What happened, as in the contract.
        record_id: The notification's id, where the caller has one for it.
        event: What it tells of, where it tells of a record.
        values: Further attributes: subject, actor, parameters, text.

    Returns:
        The notification's name, or the user's where only a mail tells them; None if nobody is told.
    """
    id_, rights = record_id or uuid7(), call.home.rights
    deputy = await deputy_of(call, user)
    if deputy is not None and (event is None or may_read_record(rights, deputy, event)):
        spoken = {**values, "text": None, "deputy_for": user}
        await _tell(call, deputy, kind, uuid5_of(id_, f"deputy {deputy}"), spoken)
    return await _tell(call, user, kind, id_, values)


async def _tell(
    call: Call, user: UUID | None, kind: str, id_: UUID, values: dict[str, Any]
) -> str | None:
    known = call.home.rights.users.get(user) if user else None
    if user is None or known is None or not known.active:
        return None
    wish, name = (await wishes_of(call, user))[kind], None
    if wish.in_app:
        text_key = f"notification.{kind.lower()}"
        fields = {"kind": kind, "text_key": text_key, "owner": user, **values}
        await NOTIFICATIONS.insert(call, NOTIFICATIONS.new(call, fields, record_id=id_))
        name = NOTIFICATIONS.codec.name_of(id_)
    if wish.email == "OFF" or not mail.is_configured(call.home.settings):
        return name
    settings = await mail_settings_of(call, user)
    due = due_time(wish.email, settings, call.organization.zone, call.now)
    line = Line(
        id=id_,
        user=user,
        kind=kind,
        notification=id_ if wish.in_app else None,
        create_time=call.now,
        due_time=due,
        **values,
    )
    await put_line(call, line)
    await promise_mail(call, user, due)
    return name or f"users/{user}"
