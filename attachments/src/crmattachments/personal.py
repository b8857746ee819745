"""The files of people: read in full, and removed when their person is erased."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1.personal_data_pb2 import PersonalDataPiece
from crmattachments import file_names, rows
from crmattachments.store import Missing, file_store
from crmkit.call import Home
from crmkit.children.tables import ATTACHMENT
from crmkit.personal.declaration import Kept
from crmkit.personal.subject import Found
from crmkit.personal.texts import redact_rows
from crmkit.statements import compile_statement

_NAMES = Kept(ATTACHMENT, ("file_name", "comment", "title", "folder", "tags"))
_MISSING = b"This file was added here; its content is lost.\n"
_OF_RECORDS = compile_statement(
    sa.select(*rows.COLUMNS)
    .where(ATTACHMENT.c.record == sa.any_(sa.bindparam("records", type_=sa.ARRAY(sa.Uuid))))
    .order_by(ATTACHMENT.c.id)
)


class FilesOfPeople:
    """What attachments keep of the people that records are about."""

    tables = frozenset({ATTACHMENT.name})

    async def erase(self, home: Home, found: Found) -> None:
        """Removes the bytes, then the rows: when this returns both are gone."""
        for row in await _of(home, found.ids):
            await file_store(home.settings).delete(rows.key(home.name, row["id"]))
            await home.database.execute(rows.DELETE, {"id": row["id"]})
        await redact_rows(home, _NAMES, found.subject.redactor)

    async def read(self, home: Home, found: Found) -> AsyncIterator[PersonalDataPiece]:
        """The files, each in a folder with the name of its attachment; a note where the store has none."""
        for row in await _of(home, found.ids):
            name = file_names.cleaned(row["file_name"])
            path = f"files/{row['collection']}/{row['record']}/{row['id']}/{name}"
            store = file_store(home.settings)
            try:
                async for data in store.get(rows.key(home.name, row["id"])):
                    yield PersonalDataPiece(path=path, data=data)
            except Missing:  # nothing would bring it back: the rest is worth having
                yield PersonalDataPiece(path=f"{path}.missing.txt", data=_MISSING)


async def _of(home: Home, records: Sequence[UUID]) -> Sequence[Mapping[str, Any]]:
    found = await home.database.fetch_all(_OF_RECORDS, {"records": list(records)})
    return [rows.values(row) for row in found]
