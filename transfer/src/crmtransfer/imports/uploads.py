"""Files sent up: kept in chunks in the service's database until their import has ended."""

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit.call import Call
from crmkit.db import Database
from crmkit.errors import InvalidArgument
from crmkit.ids import uuid7
from crmkit.job_tables import IMPORT, UPLOAD, UPLOAD_CHUNK
from crmkit.statements import compile_statement
from crmtransfer.sandboxed import answers_of

CHUNK_BYTES = 1024 * 1024
MAX_BYTES = 512 * 1024 * 1024
ZIP = b"PK\x03\x04"
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_KEPT_FOR = timedelta(days=1)  # without an import

_ID = sa.bindparam("id", type_=sa.Uuid)
_BEGIN = compile_statement(
    UPLOAD.insert().values(
        id=_ID,
        creator=sa.bindparam("creator", type_=sa.Uuid),
        create_time=sa.bindparam("create_time", type_=UPLOAD.c.create_time.type),
    )
)
_COMPLETE = compile_statement(sa.text("UPDATE upload SET size_bytes = :size_bytes WHERE id = :id"))
_PUT = compile_statement(
    sa.text('INSERT INTO upload_chunk (upload, "index", data) VALUES (:id, :index, :data)')
)
_GET = compile_statement(
    sa.select(UPLOAD_CHUNK.c.data).where(
        UPLOAD_CHUNK.c.upload == _ID, UPLOAD_CHUNK.c.index == sa.bindparam("index")
    )
)
_FIND = compile_statement(
    sa.select(UPLOAD.c.creator, UPLOAD.c.size_bytes).where(UPLOAD.c.id == _ID)
)
DELETE = compile_statement(sa.delete(UPLOAD).where(UPLOAD.c.id == _ID))
_DELETE_FORGOTTEN = compile_statement(
    sa.delete(UPLOAD).where(
        UPLOAD.c.create_time < sa.bindparam("before", type_=UPLOAD.c.create_time.type),
        ~sa.exists().where(IMPORT.c.upload == UPLOAD.c.id, IMPORT.c.end_time.is_(None)),
    )
)


async def receive(requests: AsyncIterator[Any], call: Call) -> tuple[UUID, int]:
    """Keeps a file that arrives in pieces; answers its id and size in bytes.

    Each chunk is a transaction of its own: a slow sender holds none open.

    Raises:
        InvalidArgument: `UPLOAD_TOO_LARGE`; or the file is a workbook that is not safe to read.
    """
    database, upload = call.home.database, uuid7()
    await database.execute(_DELETE_FORGOTTEN, {"before": call.now - _KEPT_FOR})
    row = {"id": upload, "creator": call.principal.user, "create_time": call.now}
    await database.execute(_BEGIN, row)
    size, index, rest = 0, 0, bytearray()
    try:
        async for request in requests:
            size += len(request.file.data)
            _refuse_too_large(size)
            rest += request.file.data
            while len(rest) >= CHUNK_BYTES:
                await _put(database, upload, index, rest)
                index += 1
        if rest:
            await _put(database, upload, index, rest)
        await _check(database, upload)
        await database.execute(_COMPLETE, {"id": upload, "size_bytes": size})
    except BaseException:
        await database.execute(DELETE, {"id": upload})
        raise
    return upload, size


async def _check(database: Database, upload: UUID) -> None:
    """Workbooks are looked through at once: a bomb is not even kept."""
    first = await start(database, upload)
    if first.startswith(OLE):
        msg = "The file is an old (XLS) or encrypted workbook: save it as XLSX without a password, or as CSV."
        raise InvalidArgument(msg, reason="UNREADABLE_WORKBOOK", field="file")
    if not first.startswith(ZIP):
        return
    try:
        async with aclosing(
            answers_of("xlsx_rows", ["check"], chunks(database, upload))
        ) as answers:
            async for _ in answers:
                pass
    except InvalidArgument as error:
        raise InvalidArgument(error.message, reason=error.reason, field="file") from None


def _refuse_too_large(size: int) -> None:
    if size > MAX_BYTES:
        msg = f"A file has at most {MAX_BYTES // 1024**2} MB; divide it."
        raise InvalidArgument(msg, reason="UPLOAD_TOO_LARGE", field="file")


async def _put(database: Database, upload: UUID, index: int, data: bytearray) -> None:
    chunk = bytes(data[:CHUNK_BYTES])
    await database.execute(_PUT, {"id": upload, "index": index, "data": chunk})
    del data[:CHUNK_BYTES]


async def is_complete(call: Call, upload: UUID) -> bool:
    """True if the file is there as a whole and the caller sent it."""
    row = await call.reader.fetch_one(_FIND, {"id": upload})
    return row is not None and row[1] is not None and row[0] == call.principal.user


async def start(database: Database, upload: UUID) -> bytes:
    """The first piece of a file; empty if there is none."""
    row = await database.fetch_one(_GET, {"id": upload, "index": 0})
    return bytes(row[0]) if row is not None else b""


async def chunks(database: Database, upload: UUID) -> AsyncIterator[bytes]:
    """The file, chunk by chunk."""
    index = 0
    while True:
        row = await database.fetch_one(_GET, {"id": upload, "index": index})
        if row is None:
            return
        yield bytes(row[0])
        index += 1
