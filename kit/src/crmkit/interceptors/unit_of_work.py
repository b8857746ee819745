"""Unit of work: one request, one transaction, one commit, here at the edge."""

from typing import Any

from crmkit.call import Call
from crmkit.resources import Handler


def in_unit_of_work(handler: Handler) -> Handler:
    """Commits when the method has answered, rolls back when it raised."""

    async def run(request: Any, call: Call) -> Any:
        try:
            response = await handler(request, call)
            await call.tx.commit()
        finally:
            await call.tx.end()
        return response

    return run
