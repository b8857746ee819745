"""Where tasks are kept, and the jobs that tell when their time comes."""

from datetime import datetime

import sqlalchemy as sa

from crm.customer.v1 import task_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.following import recorded_index
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from crmkit.statements import TEXT, TIMESTAMP, record_table
from customer.domain.task import Task
from customer.storage.schema import CUSTOMER

TASK_TIME = "task_time"  # the kind of the jobs
# What happens → the field that says when.
TIMES = {"reminded": "remind_time", "due": "due_time"}

tasks = record_table(
    "tasks",
    CUSTOMER,
    sa.Column("title", TEXT, nullable=False),
    sa.Column("description", TEXT),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("priority", TEXT, nullable=False),
    sa.Column("due_time", TIMESTAMP),
    sa.Column("remind_time", TIMESTAMP),
    sa.Column("related", sa.ARRAY(TEXT), nullable=False),
    sa.Column("related_as_recorded", sa.ARRAY(TEXT)),
    sa.Column("recurrence", TEXT),
    sa.Column("time_zone", TEXT),
    sa.Column("series_start_time", TIMESTAMP),
    sa.Column("next_task", sa.Uuid),
    sa.Column("close_time", TIMESTAMP),
    sa.Column("closer", sa.Uuid),
    sa.Index("ix_tasks_owner_due_time", "owner", "due_time", "id"),
    sa.Index("ix_tasks_due_time", "due_time", "id"),
    sa.Index("ix_tasks_related", "related", postgresql_using="gin"),
    sa.Index(
        "ix_tasks_related_unfinished",
        "related",
        postgresql_using="gin",
        postgresql_where=sa.text("state IN ('OPEN', 'IN_PROGRESS')"),
    ),
    *recorded_index("tasks", "related", "array_ops"),
    sa.Index("ix_tasks_closer", "closer", "close_time", postgresql_where=sa.text("state = 'DONE'")),
)


async def settle(call: Call, after: Task, before: Task | None) -> None:
    """A series has its beginning, and what is still to come is promised as a job."""
    if before is None and call.imported:
        after.begin_with_history()
    after.settle_series(before, call.organization.time_zone)
    for kind in TIMES:
        await _promise(call, after, before, kind)


async def _promise(call: Call, after: Task, before: Task | None, kind: str) -> None:
    """A job for the time to come, by an id that makes a repeat the same; one of an old time does nothing."""
    time: datetime | None = getattr(after, TIMES[kind])
    if time is None or time <= call.now or not after.unfinished:
        return
    if before is not None and before.unfinished and getattr(before, TIMES[kind]) == time:
        return
    arguments = {"task": str(after.id), "kind": kind, "time": time.isoformat()}
    job_id = uuid5_of(after.id, f"{kind} {time.isoformat()}")
    await enqueue(call.tx, TASK_TIME, arguments, time, job_id)


TASKS = Collection(
    task_pb2.Task,
    Task,
    tasks,
    natural_key="",
    rule=settle,
    import_fields=["state", "close_time"],
)
