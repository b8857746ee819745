"""The job at a task's time: says that it is due, or that somebody wanted to be reminded."""

from datetime import datetime
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.errors import NotFound
from customer.storage.task import TASKS, TIMES


async def tell_task_time(call: Call, arguments: dict[str, Any]) -> None:
    """Publishes `task.due` or `task.reminded`, unless that no longer holds; commits with the job's end."""
    kind, time = arguments["kind"], datetime.fromisoformat(arguments["time"])
    try:
        task = await TASKS.for_change(call, UUID(arguments["task"]), deleted=True)
    except NotFound:  # purged, or never stored: the row of an import that was refused
        return
    if task.unfinished and getattr(task, TIMES[kind]) == time:
        task.fall_due(kind, time)
        await TASKS.save(call, task)
