"""What a bulk action would do: how many records there are, and what would become of the first.

The first records are really changed, each in a transaction that is never committed: what is shown is what
would happen.
"""

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

import psycopg
import sqlalchemy as sa

from crm.common.v1 import bulk_action_pb2
from crmkit import revisions
from crmkit.call import Call
from crmkit.db import Transaction
from crmkit.errors import Failure
from crmkit.interceptors.errors import failure_of
from crmkit.sensitive import hidden
from crmkit.statements import compile_statement
from crmtransfer.bulk.changes import Change, Target, changed, issue
from crmtransfer.bulk.job import scope_of

_SAMPLES = 20


async def preview(
    call: Call, target: Target, wanted: bulk_action_pb2.BulkAction, records: Sequence[UUID]
) -> bulk_action_pb2.BulkAction:
    """The bulk action with its number of records and some samples.

    Args:
        call: The request; its method is that of one change.
        target: The collection.
        wanted: What is asked for, its values normalised.
        records: The records that are named; empty where the filter says which.
    """
    answer = bulk_action_pb2.BulkAction()
    answer.CopyFrom(wanted)
    if records:
        answer.total_rows, first = len(records), records[:_SAMPLES]
    else:
        answer.total_rows, first = await _found(call, target, wanted)
    change = await target.change(call, wanted)
    for record in first:
        answer.samples.append(await _sample(call, target, change, record))
    return answer


async def _found(
    call: Call, target: Target, wanted: bulk_action_pb2.BulkAction
) -> tuple[int, Sequence[UUID]]:
    """How many records a filter finds, and the first of them."""
    table = target.collection.table
    conditions, parameters = target.collection.listing.matching(
        call,
        scope_of(call, target, wanted.action),
        wanted.filter,
        deleted=wanted.action == wanted.UNDELETE,
    )
    count = sa.select(sa.func.count()).select_from(table).where(*conditions)
    row = await call.reader.fetch_one(compile_statement(count), parameters)
    first = sa.select(table.c.id).where(*conditions).order_by(table.c.id).limit(_SAMPLES)
    rows = await call.reader.fetch_all(compile_statement(first), parameters)
    return int(row[0]) if row else 0, [row[0] for row in rows]


async def _sample(
    call: Call, target: Target, change: Change, record: UUID
) -> bulk_action_pb2.BulkAction.Sample:
    collection = target.collection
    sample = bulk_action_pb2.BulkAction.Sample(record=collection.codec.name_of(record))
    tx = Transaction(call.home.database)
    try:
        entity = await change(replace(call, tx=tx), record, None)
        if changed(call, entity):
            unseen = hidden(call.principal, collection.contract, entity.owner, entity.team)
            revision = await revisions.shown(tx, collection.codec, record, entity.version, unseen)
            sample.changes.extend(revision.changes)
    except (Failure, psycopg.Error) as error:
        failure = failure_of(error, collection.contract.singular)
        if failure is None or not isinstance(
            error, Failure | psycopg.IntegrityError | psycopg.DataError
        ):
            raise
        sample.issue.CopyFrom(issue(collection, record, failure))
    finally:
        await tx.end()
    return sample
