"""Completing a task, and making the next of its series in the same transaction."""

from crm.customer.v1 import task_pb2
from crmkit.call import Call
from crmkit.ids import uuid7
from customer.domain.task import Task
from customer.storage.series import follow
from customer.storage.task import TASKS


async def complete_task(call: Call, request: task_pb2.CompleteTaskRequest) -> Task:
    """Marks a task as done; its lock and `next_task` see to it that one task follows, not two."""
    by = call.principal.user
    async with TASKS.changing(call, request) as task:
        task.complete(call.now, by)
        following = task.following(uuid7(), call.now, by)
        if following is not None:
            await follow(call, TASKS, following)
    return task
