"""What somebody did, from the records that tell of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.statements import TEXT, compile_statement
from customer.storage.appointment import APPOINTMENTS, appointments
from customer.storage.interaction import INTERACTIONS, interactions
from customer.storage.task import TASKS, tasks

COLLECTIONS: Mapping[str, Collection[Any]] = {
    "TASK_COMPLETED": TASKS,
    "INTERACTION": INTERACTIONS,
    "APPOINTMENT_HELD": APPOINTMENTS,
}


@dataclass(frozen=True)
class Entry:
    """Something that somebody did; `title` is empty where the caller may not read the record."""

    kind: str
    id: UUID
    time: datetime
    title: str
    duration_minutes: int | None

    @property
    def record(self) -> str:
        """The record's name."""
        return COLLECTIONS[self.kind].codec.name_of(self.id)


def _part(
    kind: str,
    table: sa.Table,
    time: sa.ColumnElement[Any],
    title: sa.ColumnElement[Any],
    minutes: sa.ColumnElement[Any],
    *conditions: sa.ColumnElement[bool],
) -> "sa.Select[Any]":
    named = [
        sa.literal(kind, TEXT).label("kind"), table.c.id, time.label("time"),
        title.label("title"), minutes.label("minutes"), table.c.owner, table.c.team,
    ]  # fmt: skip
    return sa.select(*named).where(*conditions, table.c.delete_time.is_(None))


def _done(user: UUID, start: datetime, end: datetime) -> sa.Subquery:
    t, i, a = tasks.c, interactions.c, appointments.c
    length = sa.func.date_part("epoch", a.end_time - a.start_time) / 60
    took_part = a.participants.op("@>", is_comparison=True)(
        sa.literal([f"users/{user}"], sa.ARRAY(sa.Text))
    )
    became = sa.select(a.id).where(a.interaction == i.id).exists()
    return sa.union_all(
        _part(
            "TASK_COMPLETED", tasks, t.close_time, t.title, sa.null(),
            t.closer == user, t.state == "DONE", t.close_time >= start, t.close_time < end,
        ),
        _part(
            "INTERACTION", interactions, i.occur_time, sa.func.coalesce(i.subject, ""),
            i.duration_minutes, i.owner == user, i.occur_time >= start, i.occur_time < end, ~became,
        ),
        _part(
            "APPOINTMENT_HELD", appointments, a.start_time, a.title, sa.cast(length, sa.Integer),
            took_part, a.state == "HELD", a.start_time >= start, a.start_time < end,
        ),
    ).subquery("done")  # fmt: skip


async def entries_of(
    call: Call, user: UUID, start: datetime, end: datetime, request: Any
) -> tuple[list[Entry], str]:
    """A page of what a user did, in order, and the token of the next page."""
    done = _done(user, start, end)
    orders = [
        Order("time", done.c.time, descending=False),
        Order("id", done.c.id, descending=False),
    ]
    bound_to = f"work log {user} {start} {end}"
    rows, token = await page_of_rows(call, sa.select(*done.c), orders, request, bound_to)
    readable = await _readable(call, rows)
    return [
        Entry(kind, id_, time, title if id_ in readable else "", minutes)
        for kind, id_, time, title, minutes, _, _ in rows
    ], token


async def _readable(call: Call, rows: Sequence[Any]) -> set[UUID]:
    """The records among rows that the caller may read."""
    found: set[UUID] = set()
    for kind, collection in COLLECTIONS.items():
        permission = collection.permission("get")
        places = [(row[1], row[5], row[6]) for row in rows if row[0] == kind]
        if places and call.principal.grants.scope(permission):
            found |= await collection.within_reach(call, permission, places)
    return found


async def counts_of(call: Call, user: UUID, start: datetime, end: datetime) -> Mapping[str, int]:
    """Kind → how often a user did it."""
    done = _done(user, start, end)
    query = sa.select(done.c.kind, sa.func.count()).group_by(done.c.kind)
    rows = await call.reader.fetch_all(compile_statement(query))
    return {**dict.fromkeys(COLLECTIONS, 0), **{row[0]: row[1] for row in rows}}
