"""Completing a task, and making the next of its series in the same transaction."""

from dataclasses import replace

from crm.customer.v1 import task_pb2
from crmkit.call import Call
from crmkit.ids import uuid7
from customer.domain.task import Task
from customer.storage.task import TASKS, carry_over


async def complete_task(call: Call, request: task_pb2.CompleteTaskRequest) -> Task:
    """Marks a task as done; its lock and `next_task` see to it that one task follows, not two."""
    by = call.principal.user
    async with TASKS.changing(call, request) as task:
        task.complete(call.now, by)
        following = task.following(uuid7(), call.now, by)
        if following is not None:
            carry_over(call, following)
            # Nobody writes it, so nobody is asked for a custom field that it lacks.
            unasked = replace(call, principal=replace(call.principal, user=None))
            await TASKS.insert(unasked, following)
    return task
