"""What is told of a run that has ended, in the transaction in which it ends."""

from typing import Any, Protocol
from uuid import UUID

from crm.common.v1.job_pb2 import JobOutcome
from crmkit import contract
from crmkit.call import Call
from crmkit.feed import outbox
from crmkit.publishing import new_event


class Ended(Protocol):
    """An import, an export or a bulk action."""

    @property
    def name(self) -> str:
        """Its resource name."""

    @property
    def creator(self) -> UUID | None:
        """Who asked for it."""

    @property
    def specification(self) -> Any:
        """What was asked for."""


async def tell_that_it_ended(
    call: Call, kind: str, run: Ended, state: str, counts: tuple[int, int]
) -> None:
    """Publishes `import.ended`, `export.ended` or `bulk_action.ended`.

    Args:
        call: The job's.
        kind: `import`, `export` or `bulk_action`.
        run: What has ended.
        state: How.
        counts: Rows or records dealt with, and how many of them failed.
    """
    routing_key = f"{call.home.name}.{kind}.ended"
    message: Any = contract.events()[routing_key].message()
    message.outcome.CopyFrom(
        JobOutcome(
            name=run.name,
            state=JobOutcome.State.Value(state),
            resource=run.specification.resource,
            creator=f"users/{run.creator}" if run.creator else "",
            processed_count=counts[0],
            failed_count=counts[1],
        )
    )
    event = new_event(
        call,
        routing_key=routing_key,
        message=message,
        subject=run.name,
        subject_version=1,
        event_index=0,
        owner=run.creator,
        team=None,
    )
    await outbox.append(call.tx, [event])
