"""What waits to be mailed: rows, gone once they are sent.

A row that is claimed is never sent again by itself, whatever became of the mail.
"""

from collections.abc import Sequence
from dataclasses import fields
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB

from crmkit.call import Call
from crmkit.db import Executor
from crmkit.statements import TEXT, TIMESTAMP, Row, compile_statement
from workspace.domain.digest import Line
from workspace.storage.notification import notifications
from workspace.storage.schema import WORKSPACE

_KEPT_FOR = timedelta(days=30)
_MOST = 1000

notification_mails = sa.Table(
    "notification_mails",
    WORKSPACE,
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("user", sa.Uuid, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("subject", TEXT),
    sa.Column("actor", sa.Uuid),
    sa.Column("text", TEXT),
    sa.Column("parameters", JSONB, nullable=False),
    sa.Column("notification", sa.Uuid),
    sa.Column("deputy_for", sa.Uuid),
    sa.Column("create_time", TIMESTAMP, nullable=False),
    sa.Column("due_time", TIMESTAMP, nullable=False),
    sa.Column("claimed", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Index(
        "ix_notification_mails_due",
        "user",
        "due_time",
        postgresql_where=sa.text("NOT claimed"),
    ),
    sa.Index("ix_notification_mails_create_time", "create_time"),
)
_T = notification_mails.c
_COLUMNS = tuple(_T[f.name] for f in fields(Line) if f.name != "seen")
_USER = sa.bindparam("user", type_=sa.Uuid)
_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
_seen = sa.exists().where(
    notifications.c.id == _T.notification,
    sa.or_(notifications.c.read_time.is_not(None), notifications.c.delete_time.is_not(None)),
)
_waiting = (
    sa.select(*_COLUMNS, _seen).where(_T.user == _USER, ~_T.claimed).order_by(_T.id).limit(_MOST)
)
_INSERT = compile_statement(
    notification_mails.insert().values(
        {c.name: sa.bindparam(c.name, type_=c.type) for c in _COLUMNS}
    )
)
_WAITING = compile_statement(_waiting)
_DUE = compile_statement(_waiting.where(_T.due_time <= sa.bindparam("now", type_=TIMESTAMP)))
_CLAIM = compile_statement(
    sa.update(notification_mails)
    .where(_T.id == sa.any_(_IDS), ~_T.claimed)
    .values(claimed=True)
    .returning(_T.id)
)
_RELEASE = compile_statement(
    sa.update(notification_mails).where(_T.id == sa.any_(_IDS)).values(claimed=False)
)
_MOVE = compile_statement(
    sa.update(notification_mails)
    .where(_T.id == sa.any_(_IDS), ~_T.claimed)
    .values(due_time=sa.bindparam("new_due_time", type_=TIMESTAMP))
)
_DELETE = compile_statement(sa.delete(notification_mails).where(_T.id == sa.any_(_IDS)))
_PURGE = compile_statement(
    sa.delete(notification_mails).where(_T.create_time < sa.bindparam("before", type_=TIMESTAMP))
)


def _line(row: Row) -> Line:
    names = [*(c.name for c in _COLUMNS), "seen"]
    return Line(**dict(zip(names, row, strict=True)))


async def put_line(call: Call, line: Line) -> None:
    """Keeps something to be mailed."""
    row: dict[str, Any] = {**vars(line), "parameters": Jsonb(line.parameters)}
    row.pop("seen")
    await call.tx.execute(_INSERT, row)


async def due_lines(executor: Executor, user: UUID, now: datetime) -> list[Line]:
    """What is to be mailed to a person now, oldest first."""
    return [_line(row) for row in await executor.fetch_all(_DUE, {"user": user, "now": now})]


async def waiting_lines(call: Call, user: UUID) -> list[Line]:
    """What waits to be mailed to a person, oldest first."""
    return [_line(row) for row in await call.tx.fetch_all(_WAITING, {"user": user})]


async def claim_lines(executor: Executor, ids: Sequence[UUID]) -> int:
    """Takes lines to send them; answers how many nobody else had taken."""
    return len(await executor.fetch_all(_CLAIM, {"ids": list(ids)}))


async def release_lines(executor: Executor, ids: Sequence[UUID]) -> None:
    """Gives lines back that were certainly not sent."""
    await executor.execute(_RELEASE, {"ids": list(ids)})


async def move_lines(call: Call, ids: Sequence[UUID], due_time: datetime) -> None:
    """Sends lines at another time."""
    await call.tx.execute(_MOVE, {"ids": list(ids), "new_due_time": due_time})


async def delete_lines(executor: Executor, ids: Sequence[UUID]) -> None:
    """Forgets lines that were sent, or are not to be."""
    await executor.execute(_DELETE, {"ids": list(ids)})


async def purge_lines(call: Call) -> None:
    """Forgets what could not be mailed within 30 days, or may have been."""
    await call.tx.execute(_PURGE, {"before": call.now - _KEPT_FOR})
