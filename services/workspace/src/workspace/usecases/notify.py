"""Telling somebody something, in the transaction in which it happened."""

from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.ids import uuid7
from workspace.storage.notification import NOTIFICATIONS, preferences_of


async def notify(
    call: Call, user: UUID | None, kind: str, *, record_id: UUID | None = None, **values: Any
) -> str | None:
    """Makes a notification for a user who may sign in and wants this kind.

    Args:
        call: Work of this service, not of a person.
        user: Whom to tell.
        kind: What happened, as in the contract.
        record_id: The notification's id, where the caller has one for it.
        values: Further attributes: subject, actor, parameters, text.

    Returns:
        The notification's name; None if nobody is told.
    """
    known = call.home.rights.users.get(user) if user else None
    if user is None or known is None or not known.active:
        return None
    if not (await preferences_of(call, user))[kind]:
        return None
    text_key = f"notification.{kind.lower()}"
    fields = {"kind": kind, "text_key": text_key, "owner": user, **values}
    notification = NOTIFICATIONS.new(call, fields, record_id=record_id or uuid7())
    await NOTIFICATIONS.insert(call, notification)
    return NOTIFICATIONS.codec.name_of(notification.id)
