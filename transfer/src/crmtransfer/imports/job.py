"""The job of an import: count the rows, write them in batches, make the links within the file.

It may be run again at any time: it goes on behind the rows that are counted as dealt with.
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any
from uuid import UUID

from crmkit.call import Call, Home
from crmkit.collection import Collection
from crmkit.db import Database
from crmkit.errors import InvalidArgument
from crmtransfer.imports import rejected, runs
from crmtransfer.imports.batch import Work, hidden_from, write_batches
from crmtransfer.imports.files import File
from crmtransfer.imports.links import link_rows
from crmtransfer.imports.lookups import Lookups
from crmtransfer.imports.mapping import Mapper
from crmtransfer.imports.quick import QuickRows
from crmtransfer.imports.rows import FileRow
from crmtransfer.running import ACTIVE, creator, finish

MAX_ROWS = 1_000_000
BATCH_ROWS = 1000
_BATCH_CHARS = 8_000_000  # long rows fill the memory before there are so many
_LINKED_ROWS = 200  # each is a change of its own: a transaction of more holds its locks too long


class ImportJob:
    """Handles the job kind `import` of one service."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        self._collections = collections

    async def __call__(self, call: Call, arguments: dict[str, Any]) -> None:
        """Runs an import to its end, from wherever it stands."""
        run = await runs.find(call.home.database, UUID(arguments["import"]))
        if run is None or run.state not in ACTIVE:
            return
        await finish(call, "import", run, self._run(call.home, run), runs.end)

    async def _run(self, home: Home, run: runs.Run) -> None:
        collection = self._collections[run.specification.resource]
        header, total = await _survey(home.database, run)
        async with home.database.transaction() as tx:
            await runs.begin(tx, run.id, total)
            await rejected.keep_header(tx, run.id, header)
        zone = home.rights.organization.zone
        custom = home.custom_fields.of(collection.name)
        by = creator(home, run.row)
        unseen = hidden_from(by, collection)
        mapper = Mapper(collection, run.specification.mappings, custom, zone, unseen)
        history = by.grants.scope(collection.permission("import_history"))
        bound = mapper.bind(header, history=bool(history))
        work = Work(
            home=home,
            collection=collection,
            run=run,
            mapper=bound,
            quick=QuickRows(bound),
            lookups=Lookups(self._collections, growing=collection.name),
            processed=run.processed_rows,
        )
        skip = run.processed_rows
        async with aclosing(_batches(home.database, run, BATCH_ROWS, skip=skip)) as behind:
            await write_batches(work, behind)
        if work.mapper.links and not run.specification.validate_only:
            async with aclosing(_batches(home.database, run, _LINKED_ROWS)) as batches:
                async for rows in batches:
                    await link_rows(work, rows)


async def _survey(database: Database, run: runs.Run) -> tuple[list[str], int]:
    """The header and the number of rows; raises InvalidArgument where the file cannot be read."""
    file, total = File(database, run.upload, run.specification), 0
    async with aclosing(file.rows()) as rows:
        async for _ in rows:
            total += 1
            if total > MAX_ROWS:
                msg = f"The file has more than {MAX_ROWS:,} rows; divide it."
                raise InvalidArgument(msg, reason="TOO_MANY_ROWS", field="import.upload")
    return file.header, total


async def _batches(
    database: Database, run: runs.Run, size: int, skip: int = 0
) -> AsyncGenerator[list[FileRow], None]:
    """The file's rows behind the first `skip`, so many at a time; fewer where they are long."""
    waiting: list[FileRow] = []
    chars = 0
    async with aclosing(File(database, run.upload, run.specification).rows()) as rows:
        async for row in rows:
            if skip:
                skip -= 1
                continue
            waiting.append(row)
            chars += sum(map(len, row.cells))
            if len(waiting) == size or chars > _BATCH_CHARS:
                yield waiting
                waiting, chars = [], 0
    if waiting:
        yield waiting
