"""What imports, exports and bulk actions keep of people, for some days: files, refused rows, conditions.

A file of many people cannot lose one of them: it goes as a whole, and is exported again. A run that was
going on when this service heard of the erasure is waited for.
"""

from collections.abc import AsyncIterator, Callable
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from google.protobuf.message import Message

from crm.common.v1 import bulk_action_pb2, export_pb2, import_pb2
from crm.common.v1.personal_data_pb2 import PersonalDataPiece
from crmkit import clock
from crmkit.call import Home
from crmkit.errors import Unavailable
from crmkit.job_tables import (
    BULK_ACTION,
    EXPORT,
    EXPORT_CHUNK,
    IMPORT,
    IMPORT_REJECTED_ROW,
    UPLOAD,
    UPLOAD_CHUNK,
)
from crmkit.personal.reach import can_refer
from crmkit.personal.subject import Found, Redactor
from crmkit.statements import compile_statement
from crmtransfer.imports import uploads
from crmtransfer.running import ACTIVE

_LONGEST_RUN = timedelta(days=1)  # what has not ended then never will
_SPECIFIED: tuple[tuple[sa.Table, type[Message]], ...] = (
    (IMPORT, import_pb2.Import),
    (EXPORT, export_pb2.Export),
    (BULK_ACTION, bulk_action_pb2.BulkAction),
)
_ENDED_EXPORTS = compile_statement(
    sa.select(EXPORT.c.id, EXPORT.c.specification).where(
        sa.exists().where(EXPORT_CHUNK.c.export == EXPORT.c.id)
    )
)
_DELETE_FILE = compile_statement(
    sa.delete(EXPORT_CHUNK).where(EXPORT_CHUNK.c.export == sa.bindparam("id", type_=sa.Uuid))
)
_UPLOADS = compile_statement(
    sa.select(UPLOAD.c.id).where(
        ~sa.exists().where(IMPORT.c.upload == UPLOAD.c.id, IMPORT.c.state.in_(ACTIVE))
    )
)
_CHUNKS = compile_statement(
    sa.select(UPLOAD_CHUNK.c.data)
    .where(
        UPLOAD_CHUNK.c.upload == sa.bindparam("id", type_=sa.Uuid),
        UPLOAD_CHUNK.c.index == sa.bindparam("index"),
    )
)  # fmt: skip


class RunsAboutPeople:
    """What runs over many records keep of single people."""

    tables = frozenset(
        {
            IMPORT_REJECTED_ROW.name, EXPORT_CHUNK.name, UPLOAD.name, UPLOAD_CHUNK.name,
        }
    )  # fmt: skip

    async def erase(self, home: Home, found: Found) -> None:
        """Removes files and refused rows with the person in them, and their addresses from conditions.

        Raises:
            Unavailable: A run has begun before that may write the person down.
        """
        await _wait_for_runs(home, found.heard or clock.now())
        await _delete_exports(home, found)
        redactor = found.subject.redactor
        await _delete_uploads(home, redactor)
        await _delete_refused_rows(home, redactor)
        for table, message in _SPECIFIED:
            await _redact_specifications(home, table, message, redactor)

    async def read(self, _home: Home, _found: Found) -> AsyncIterator[PersonalDataPiece]:
        """Nothing: they are copies, of what was read from the records themselves."""
        for nothing in list[PersonalDataPiece]():
            yield nothing


async def _wait_for_runs(home: Home, heard: datetime) -> None:
    """One that begins later is not waited for: new ones might keep an erasure from its end for ever.

    The second look waits for what has begun before it was promised.
    """
    kind = IMPORT.c.create_time.type
    since, until = sa.literal(clock.now() - _LONGEST_RUN, kind), sa.literal(heard, kind)
    for table in (IMPORT, EXPORT, BULK_ACTION):
        active = sa.select(table.c.id).where(
            table.c.state.in_(ACTIVE), table.c.create_time > since, table.c.create_time <= until
        )
        if await home.database.fetch_one(compile_statement(active.limit(1))) is not None:
            msg = f"A run of {table.name} goes on; it is waited for."
            raise Unavailable(msg, reason="RUN_GOES_ON", retry_after=1)


async def _delete_exports(home: Home, found: Found) -> None:
    people = found.subject.records.keys()
    for id_, specification in await home.database.fetch_all(_ENDED_EXPORTS):
        name = export_pb2.Export.FromString(bytes(specification)).resource
        collection = home.collections.get(name)
        if name in people or (
            collection is not None and any(can_refer(collection.codec, one) for one in people)
        ):
            await home.database.execute(_DELETE_FILE, {"id": id_})


async def _delete_uploads(home: Home, redactor: Redactor) -> None:
    """Files that were sent up and name the person; of a packed one nobody can tell."""
    if not redactor.texts:
        return
    for (id_,) in await home.database.fetch_all(_UPLOADS):
        index, before = 0, b""
        while chunk := await home.database.fetch_one(_CHUNKS, {"id": id_, "index": index}):
            data = before + bytes(chunk[0])
            packed = index == 0 and data.startswith((uploads.ZIP, uploads.OLE))
            if packed or redactor.holds(data.decode(errors="replace")):
                await home.database.execute(uploads.DELETE, {"id": id_})
                break
            index, before = index + 1, data[-1000:]


async def _delete_refused_rows(home: Home, redactor: Redactor) -> None:
    if not redactor.texts:
        return
    cells = sa.func.array_to_string(IMPORT_REJECTED_ROW.c.cells, "\n")
    patterns = sa.literal(redactor.patterns, sa.ARRAY(sa.Text))
    delete = sa.delete(IMPORT_REJECTED_ROW).where(cells.ilike(sa.any_(patterns)))
    await home.database.execute(compile_statement(delete))


async def _redact_specifications(
    home: Home, table: sa.Table, message: type[Message], redactor: Redactor
) -> None:
    if not redactor.texts:
        return
    query = sa.select(table.c.id, table.c.specification)
    for id_, stored in await home.database.fetch_all(compile_statement(query)):
        specification = message.FromString(bytes(stored))
        _redact(specification, redactor.redact)
        data = specification.SerializeToString(deterministic=True)
        if data != bytes(stored):
            update = (
                sa.update(table)
                .where(table.c.id == sa.literal(id_, sa.Uuid))
                .values(specification=sa.bindparam("new", type_=sa.LargeBinary))
            )
            await home.database.execute(compile_statement(update), {"new": data})


def _redact(message: Any, redact: Callable[[str], str]) -> None:
    """Every text of a message, however deep."""
    for field, value in message.ListFields():
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        if entry:
            inner = field.message_type.fields_by_name["value"]
            for key in list(value):
                if inner.message_type is not None:
                    _redact(value[key], redact)
                elif inner.type == inner.TYPE_STRING:
                    value[key] = redact(value[key])
        elif field.message_type is not None:
            for one in value if field.is_repeated else [value]:
                _redact(one, redact)
        elif field.type == field.TYPE_STRING and field.is_repeated:
            value[:] = [redact(one) for one in value]
        elif field.type == field.TYPE_STRING:
            setattr(message, field.name, redact(value))
