"""Telling somebody something, in the transaction in which it happened."""

from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.ids import uuid7
from workspace.storage.notification import NOTIFICATIONS, preferences_of


async def notify(call: Call, user: UUID | None, kind: str, **values: Any) -> None:
    """Makes a notification for a user who may sign in and wants this kind.

    Args:
        call: Work of this service, not of a person.
        user: Whom to tell.
        kind: What happened, as in the contract.
        values: Further attributes: subject, actor, parameters, text.
    """
    known = call.home.rights.users.get(user) if user else None
    if user is None or known is None or not known.active:
        return
    if not (await preferences_of(call, user))[kind]:
        return
    text_key = f"notification.{kind.lower()}"
    fields = {"kind": kind, "text_key": text_key, "owner": user, **values}
    await NOTIFICATIONS.insert(call, NOTIFICATIONS.new(call, fields, record_id=uuid7()))
