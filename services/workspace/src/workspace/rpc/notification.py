"""A person's own notifications: seen, counted, and sent as they come."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

from crm.common.v1 import event_pb2
from crm.workspace.v1 import notification_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, InvalidArgument
from crmkit.feed.event_service import EventService
from crmkit.names import parse_name
from workspace.domain.preference import DIGEST_HOUR, MailSettings, Wish, check_time_zone
from workspace.storage.notification import (
    NOTIFICATIONS,
    count_unread,
    unread_of,
)
from workspace.storage.preference import (
    mail_settings_of,
    put_mail_settings,
    put_wish,
    wishes_of,
)
from workspace.usecases.mail_notifications import plan_anew

Preferences = notification_pb2.NotificationPreferences
_SETTINGS = tuple(MailSettings.__dataclass_fields__)
_KINDS = {number: name for name, number in notification_pb2.Notification.Kind.items() if number}


class NotificationService:
    """Notifications; Get, List and Delete come from the kit."""

    async def MarkNotificationRead(
        self, request: notification_pb2.MarkNotificationReadRequest, call: Call
    ) -> notification_pb2.Notification:
        """Notes that the caller has seen it."""
        async with NOTIFICATIONS.changing(call, request) as notification:
            notification.read(call.now)
        message: notification_pb2.Notification = NOTIFICATIONS.message(notification)
        return message

    async def MarkAllNotificationsRead(
        self, request: notification_pb2.MarkAllNotificationsReadRequest, call: Call
    ) -> notification_pb2.MarkAllNotificationsReadResponse:
        """Notes that the caller has seen everything."""
        for notification_id in await unread_of(call):
            notification = await NOTIFICATIONS.for_change(call, notification_id, deleted=True)
            notification.read(call.now)
            await NOTIFICATIONS.save(call, notification)
        left = await count_unread(call)
        return notification_pb2.MarkAllNotificationsReadResponse(unread_count=left)

    async def CountUnreadNotifications(
        self, request: notification_pb2.CountUnreadNotificationsRequest, call: Call
    ) -> notification_pb2.CountUnreadNotificationsResponse:
        """How many the caller has not seen."""
        count = await count_unread(call)
        return notification_pb2.CountUnreadNotificationsResponse(unread_count=count)

    async def StreamNotifications(
        self, request: notification_pb2.StreamNotificationsRequest, call: Call
    ) -> AsyncIterator[notification_pb2.StreamNotificationsResponse]:
        """The caller's notifications after a position, or only new ones, until they go away."""
        events = EventService(call.home.feed, _notifications_only, {})
        asked = event_pb2.StreamEventsRequest(cursor=request.cursor)
        async for event in events.StreamEvents(asked, call):
            answer = notification_pb2.StreamNotificationsResponse(cursor=event.cursor)
            record_id = parse_name(event.subject, collection=NOTIFICATIONS.name, field="cursor")
            for notification in await NOTIFICATIONS.get_many(call, [record_id]):
                NOTIFICATIONS.codec.write_message(notification, answer.notification)
                yield answer

    async def GetNotificationPreferences(
        self, request: notification_pb2.GetNotificationPreferencesRequest, call: Call
    ) -> notification_pb2.NotificationPreferences:
        """What the caller wants to be told."""
        return await _preferences(call)

    async def UpdateNotificationPreferences(
        self, request: notification_pb2.UpdateNotificationPreferencesRequest, call: Call
    ) -> notification_pb2.NotificationPreferences:
        """Changes what the caller wants to be told, also of what waits to be mailed."""
        wanted: Any = request.preferences
        by = _person(call)
        check_time_zone(wanted.time_zone, "preferences.time_zone")
        wishes = await wishes_of(call, by)
        for index, preference in enumerate(wanted.preferences):
            kind = _KINDS.get(preference.kind)
            if kind is None:
                path = f"preferences.preferences[{index}].kind"
                msg = f"{path} is not a kind of notification."
                raise InvalidArgument(msg, field=path)
            wishes[kind] = _changed(wishes[kind], preference)
            await put_wish(call, kind, wishes[kind])
        said = {name: getattr(wanted, name) for name in _SETTINGS if wanted.HasField(name)}
        if said:
            await put_mail_settings(call, replace(await mail_settings_of(call, by), **said))
        await plan_anew(call, by)
        return await _preferences(call)


def _person(call: Call) -> UUID:
    """Who asks; raises FailedPrecondition for a service, which is told nothing."""
    if call.principal.user is None:
        msg = "Only people are notified."
        raise FailedPrecondition(msg, reason="NOT_A_USER")
    return call.principal.user


def _changed(wish: Wish, said: Preferences.Preference) -> Wish:
    """A wish with what was said of it."""
    in_app = said.in_app if said.HasField("in_app") else wish.in_app
    return Wish(in_app, Preferences.Email.Name(said.email) if said.email else wish.email)


def _notifications_only(_call: Call, collection: str) -> RecordScope:
    return RecordScope.OWN if collection == NOTIFICATIONS.name else RecordScope.NONE


async def _preferences(call: Call) -> Preferences:
    by = call.principal.user
    wishes, settings = await wishes_of(call, by), await mail_settings_of(call, by)
    answer = Preferences(
        preferences=[
            Preferences.Preference(
                kind=number,
                in_app=wishes[name].in_app,
                email=Preferences.Email.Value(wishes[name].email),
            )
            for number, name in _KINDS.items()
        ],
        digest_hour=DIGEST_HOUR if settings.digest_hour is None else settings.digest_hour,
    )
    if settings.time_zone:
        answer.time_zone = settings.time_zone
    if settings.language_code:
        answer.language_code = settings.language_code
    return answer
