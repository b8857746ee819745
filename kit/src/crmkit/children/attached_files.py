"""The end of attachments whose record is purged; the rest of attachments stands in `crmattachments`."""

from uuid import UUID

import sqlalchemy as sa

from crmkit.db import Executor
from crmkit.statements import compile_statement

# Each removes the bytes of one file and has the id of its attachment.
REMOVAL_JOB = "remove_attachment"

_FORGET = compile_statement(
    sa.text(
        "WITH gone AS (DELETE FROM attachment WHERE record = :record RETURNING id)"
        " INSERT INTO job (id, kind, arguments, state, due_time, attempts, failures)"
        " SELECT id, :kind, jsonb_build_object('attachment', id), 'QUEUED', now(), 0, 0 FROM gone"
        " ON CONFLICT (id) DO UPDATE SET due_time = now(), state = 'QUEUED' WHERE job.lease IS NULL"
    ).bindparams(sa.bindparam("record", type_=sa.Uuid))
)


async def forget(executor: Executor, record: UUID) -> None:
    """Removes the attachments of a record, deleted or not, and then their bytes."""
    await executor.execute(_FORGET, {"record": record, "kind": REMOVAL_JOB})
