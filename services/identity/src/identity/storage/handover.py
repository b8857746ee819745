"""Where hand-overs are kept; every service does its part when it hears of one."""

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.common.v1.handover_pb2 import HandoverProgress
from crm.identity.v1 import handover_pb2
from crmkit import contract
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.handover_run import Run
from crmkit.statements import TEXT, TIMESTAMP, record_table
from identity.domain.handover import Handover, Part, successor_not_active
from identity.storage.schema import IDENTITY, unlimited
from identity.storage.user import user_held_still

_PROGRESSED = ".handover.progressed"

handovers = record_table(
    "handovers",
    IDENTITY,
    sa.Column("user", sa.Uuid),
    sa.Column("successor", sa.Uuid),
    sa.Column("former_team", sa.Uuid),
    sa.Column("successor_team", sa.Uuid),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("parts", JSONB, nullable=False),
    sa.Column("end_time", TIMESTAMP),
    sa.Index("ix_handovers_user", "user", "id"),
)


def taking_part() -> list[str]:
    """The services that own records of people: those that tell how far they have come, and this one."""
    told = [key.partition(".")[0] for key in contract.events() if key.endswith(_PROGRESSED)]
    return sorted([*told, "identity"])


async def _begin(call: Call, after: Handover, before: Handover | None) -> None:
    """The successor may sign in, and cannot be deactivated meanwhile."""
    if before is not None:
        return
    if after.successor is not None:
        successor = await user_held_still(call.tx, after.successor)
        if successor is None or not successor.may_sign_in:
            raise successor_not_active()
    after.parts = [Part(service=name) for name in taking_part()]


HANDOVERS = Collection(
    handover_pb2.Handover, Handover, handovers, natural_key="external_id", rule=_begin
)


async def note_own_part(call: Call, run: Run) -> None:
    """Takes over how far this service has come."""
    await note_part(call, run.message(), call.home.name)


async def note_part(call: Call, told: HandoverProgress, service: str) -> None:
    """Takes over how far a service has come."""
    part = Part(
        service=service,
        state=HandoverProgress.State.Value.Name(told.state),
        total_count=told.total_count,
        moved_count=told.moved_count,
        failed_count=told.failed_count,
        error_message=told.error_message or None,
    )
    record = await HANDOVERS.for_change(unlimited(call), told.handover)
    record.note(part, call.now)
    await HANDOVERS.save(unlimited(call), record)
