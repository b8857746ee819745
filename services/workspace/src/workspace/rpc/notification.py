"""A person's own notifications: seen, counted, and sent as they come."""

from collections.abc import AsyncIterator

from crm.common.v1 import event_pb2
from crm.workspace.v1 import notification_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import InvalidArgument
from crmkit.feed.event_service import EventService
from crmkit.names import parse_name
from workspace.storage.notification import (
    NOTIFICATIONS,
    count_unread,
    prefer,
    preferences_of,
    unread_of,
)

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
        events = EventService(call.home.feed, _notifications_only)
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
        """Changes what the caller wants to be told."""
        for index, preference in enumerate(request.preferences.preferences):
            kind = _KINDS.get(preference.kind)
            if kind is None:
                path = f"preferences.preferences[{index}].kind"
                msg = f"{path} is not a kind of notification."
                raise InvalidArgument(msg, field=path)
            await prefer(call, kind, in_app=preference.in_app)
        return await _preferences(call)


def _notifications_only(_call: Call, collection: str) -> RecordScope:
    return RecordScope.OWN if collection == NOTIFICATIONS.name else RecordScope.NONE


async def _preferences(call: Call) -> notification_pb2.NotificationPreferences:
    kept = await preferences_of(call, call.principal.user)
    return notification_pb2.NotificationPreferences(
        preferences=[
            notification_pb2.NotificationPreferences.Preference(kind=number, in_app=kept[name])
            for number, name in _KINDS.items()
        ]
    )
