"""What is forgotten once a day."""

from datetime import timedelta
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from workspace.storage.notification import dismiss_old
from workspace.storage.notification_mail import purge_lines
from workspace.storage.rule_run import purge_runs
from workspace.storage.webhook_delivery import purge_deliveries

TIDY = "tidy"
_NAMESPACE = UUID("6f2d3a52-2f43-4f0e-8b8c-5b0a1d3f7c11")


async def tidy(call: Call, _arguments: dict[str, Any]) -> None:
    """Forgets what is older than it is kept, and promises to do so again tomorrow."""
    await purge_deliveries(call)
    await purge_runs(call)
    await purge_lines(call)
    if await dismiss_old(call):
        await enqueue(call.tx, TIDY, {})
    await promise_to_tidy(call, days=1)


async def promise_to_tidy(call: Call, *, days: int = 0) -> None:
    """Promises one job for a day, however often it is promised."""
    due = call.now + timedelta(days=days)
    job = uuid5_of(_NAMESPACE, due.date().isoformat())
    await enqueue(call.tx, TIDY, {}, due, job)
