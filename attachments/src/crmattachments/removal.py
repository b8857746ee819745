"""When the bytes of a file are removed: a durable job for each, with the id of its attachment.

The job is promised before the bytes are written and taken back in the transaction that makes the attachment:
whenever the process ends, either a row points to the bytes or a job removes them. What deletes a row promises
the job again.
"""

from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from crmkit.children.attached_files import REMOVAL_JOB
from crmkit.db import Transaction
from crmkit.jobs import enqueue
from crmkit.statements import compile_statement

# One that was tried may have removed the bytes already.
_TAKE_BACK = compile_statement(
    sa.text(
        "DELETE FROM job WHERE id = :id AND kind = :kind AND attempts = 0 RETURNING id"
    ).bindparams(sa.bindparam("id", type_=sa.Uuid))
)
_NOW = compile_statement(
    sa.text(
        "UPDATE job SET due_time = now(), state = 'QUEUED'"
        " WHERE id = :id AND kind = :kind AND lease IS NULL"
    ).bindparams(sa.bindparam("id", type_=sa.Uuid))
)


async def promise(tx: Transaction, attachment: UUID, due_time: datetime) -> None:
    """Removes the bytes at that time, unless it is taken back."""
    arguments = {"attachment": str(attachment)}
    await enqueue(tx, REMOVAL_JOB, arguments, due_time, job_id=attachment)


async def take_back(tx: Transaction, attachment: UUID) -> bool:
    """Keeps the bytes; False if it is too late."""
    found = await tx.fetch_one(_TAKE_BACK, {"id": attachment, "kind": REMOVAL_JOB})
    return found is not None


async def hasten(tx: Transaction, attachment: UUID) -> None:
    """Removes the bytes, promised for later, as soon as the transaction has committed."""
    await tx.execute(_NOW, {"id": attachment, "kind": REMOVAL_JOB})
