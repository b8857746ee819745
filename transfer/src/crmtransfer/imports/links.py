"""Second pass of an import: references to rows further down in the same file.

When every row is there, each record whose link could not be made at first gets it, as a change of
its own. Repeatable: a link that stands is left alone.
"""

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.ids import uuid7_of
from crmtransfer.imports import runs
from crmtransfer.imports.batch import Work, lock
from crmtransfer.imports.mapping import WARNING, Draft
from crmtransfer.imports.rows import FileRow

_FIRST_INDEX = 1000  # behind the issues of the first pass


async def link_rows(work: Work, rows: Sequence[FileRow]) -> None:
    """Makes the links of some rows; raises Stopped if the import is no longer ours."""
    linking = {r.number: r for r in rows if not r.problem and work.mapper.has_link(r.cells)}
    if not linking:
        return
    ids = {uuid7_of(work.run.id, number): number for number in linking}
    async with work.piece() as call:
        cells = [row.cells for row in linking.values()]
        await work.lookups.learn(call, work.mapper.wanted(cells, links_only=True))
        records = await work.collection.get_many(call, list(ids))
        await lock(work, call.tx)
        drafts = [
            await _link(work, call, record.id, linking[ids[record.id]])
            for record in sorted(records, key=lambda record: record.id)
            if record.delete_time is None
        ]
        issues = [issue for draft in drafts for issue in draft.issues]
        await runs.note(call.tx, work.run.id, issues, _FIRST_INDEX)


async def _link(work: Work, call: Call, record_id: UUID, row: FileRow) -> Draft:
    message: Any = work.collection.contract.message
    draft = Draft(row.number, message())
    names = list(work.mapper.fill_links(draft, row.cells, work.lookups.resolve))
    try:
        entity = await work.collection.for_change(call, record_id)
        missing = [name for name in names if not getattr(entity, name)]
        for name, value in work.collection.codec.read(draft.message, missing).items():
            setattr(entity, name, value)
        if missing:
            await work.collection.save(call, entity)
    except Failure as failure:
        draft.note(work.mapper.path(failure), failure.reason, failure.message, WARNING)
    return draft
