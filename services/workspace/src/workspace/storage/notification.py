"""Where notifications are kept."""

from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.workspace.v1 import notification_pb2
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from workspace.domain.notification import Notification
from workspace.storage.schema import WORKSPACE

notifications = record_table(
    "notifications",
    WORKSPACE,
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("text_key", TEXT),
    sa.Column("parameters", JSONB, nullable=False),
    sa.Column("subject", TEXT),
    sa.Column("actor", sa.Uuid),
    sa.Column("text", TEXT),
    sa.Column("read_time", TIMESTAMP),
    sa.Column("deputy_for", sa.Uuid),
    sa.Index(
        "ix_notifications_unread",
        "owner",
        "id",
        postgresql_where=sa.text("read_time IS NULL AND delete_time IS NULL"),
    ),
)


class Notifications(Collection[Notification]):
    """The collection: everyone's own, whatever roles say."""

    event_scope = RecordScope.OWN

    def scope(self, call: Call, permission: str) -> RecordScope:  # noqa: ARG002 - no role decides
        """A person's own; this service makes them for everyone."""
        return RecordScope.ALL if call.principal.user is None else RecordScope.OWN


NOTIFICATIONS = Notifications(notification_pb2.Notification, Notification, notifications)

_KEPT_FOR = timedelta(days=90)
_USER = sa.bindparam("user", type_=sa.Uuid)
_unread = sa.and_(
    notifications.c.owner == _USER,
    notifications.c.read_time.is_(None),
    notifications.c.delete_time.is_(None),
)
_UNREAD = compile_statement(
    sa.select(notifications.c.id).where(_unread).order_by(notifications.c.id).limit(1000)
)
_OLD = compile_statement(
    sa.select(notifications.c.id)
    .where(
        notifications.c.create_time < sa.bindparam("before", type_=TIMESTAMP),
        notifications.c.delete_time.is_(None),
    )
    .limit(1000)
)
_COUNT_UNREAD = compile_statement(
    sa.select(sa.func.count()).select_from(notifications).where(_unread)
)


async def unread_of(call: Call) -> list[UUID]:
    """Up to 1,000 notifications that the caller has not seen, oldest first."""
    return [row[0] for row in await call.tx.fetch_all(_UNREAD, {"user": call.principal.user})]


async def dismiss_old(call: Call) -> bool:
    """Deletes up to 1,000 notifications older than they are kept; True if there may be more."""
    rows = await call.tx.fetch_all(_OLD, {"before": call.now - _KEPT_FOR})
    for (notification_id,) in rows:
        notification = await NOTIFICATIONS.for_change(call, notification_id)
        notification.delete_time = call.now
        await NOTIFICATIONS.save(call, notification, "deleted")
    return len(rows) == 1000  # noqa: PLR2004 - the limit above


async def count_unread(call: Call) -> int:
    """How many the caller has not seen."""
    row = await call.reader.fetch_one(_COUNT_UNREAD, {"user": call.principal.user})
    return int(row[0]) if row else 0
