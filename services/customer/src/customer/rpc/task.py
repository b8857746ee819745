"""What happens to tasks besides being written."""

from crm.customer.v1 import task_pb2
from crmkit.call import Call
from customer.domain.task import Task
from customer.storage.task import TASKS
from customer.usecases.complete_task import complete_task


class TaskService:
    """Starting, completing, cancelling, reopening and snoozing; the standard methods come from the kit."""

    async def StartTask(self, request: task_pb2.StartTaskRequest, call: Call) -> task_pb2.Task:
        """Somebody begins."""
        async with TASKS.changing(call, request) as task:
            task.start()
        return _message(task)

    async def CompleteTask(
        self, request: task_pb2.CompleteTaskRequest, call: Call
    ) -> task_pb2.Task:
        """It is done, and the next of its series is made."""
        return _message(await complete_task(call, request))

    async def CancelTask(self, request: task_pb2.CancelTaskRequest, call: Call) -> task_pb2.Task:
        """It is given up."""
        async with TASKS.changing(call, request) as task:
            task.cancel(call.now, call.principal.user)
        return _message(task)

    async def ReopenTask(self, request: task_pb2.ReopenTaskRequest, call: Call) -> task_pb2.Task:
        """It is to be done after all."""
        async with TASKS.changing(call, request) as task:
            task.reopen()
        return _message(task)

    async def SnoozeTask(self, request: task_pb2.SnoozeTaskRequest, call: Call) -> task_pb2.Task:
        """The reminder comes later."""
        until = TASKS.codec.read(request, ["remind_time"])["remind_time"]
        async with TASKS.changing(call, request) as task:
            task.snooze(until, call.now)
        return _message(task)


def _message(task: Task) -> task_pb2.Task:
    message: task_pb2.Task = TASKS.message(task)
    return message
