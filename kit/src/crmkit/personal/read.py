"""All that a service keeps of a person, as files that people can read."""

from collections.abc import AsyncIterator, Sequence
from typing import Any
from uuid import UUID

import orjson
import sqlalchemy as sa
from google.protobuf import json_format

from crm.common.v1.personal_data_pb2 import PersonalDataPiece
from crmkit.call import Home
from crmkit.collection import Collection
from crmkit.personal.erase import about
from crmkit.personal.reach import find
from crmkit.personal.subject import Found, Subject
from crmkit.schema import REVISION
from crmkit.statements import compile_statement

_AT_ONCE = 100
_PIECE_BYTES = 256 * 1024


async def read(home: Home, subject: Subject) -> AsyncIterator[PersonalDataPiece]:
    """The records that are the person or about them, their history and comments, and what else there is."""
    found = await find(home, subject)
    for name, collection in sorted(home.collections.items()):
        ids = sorted({*found.own.get(name, ()), *found.about.get(name, ())})
        if ids:
            async for piece in _file(f"{name}.json", _records(home, collection, ids)):
                yield piece
    for kept in home.personal.kept:
        if kept.about and kept.columns:  # the others repeat what the records say
            async for piece in _file(
                f"{kept.table.name}.json", _rows(home, kept.table, about(kept, found))
            ):
                yield piece
    async for piece in _file("history.json", _rows(home, REVISION, _history(found))):
        yield piece
    for keeper in home.personal.keepers:
        async for piece in keeper.read(home, found):
            yield piece


def _history(found: Found) -> sa.ColumnElement[bool]:
    return REVISION.c.record == sa.any_(sa.literal(found.ids, sa.ARRAY(sa.Uuid)))


async def _records(
    home: Home, collection: Collection[Any], ids: Sequence[UUID]
) -> AsyncIterator[bytes]:
    table, codec = collection.table, collection.codec
    for start in range(0, len(ids), _AT_ONCE):
        some = sa.literal(list(ids[start : start + _AT_ONCE]), sa.ARRAY(sa.Uuid))
        query = sa.select(*codec.columns).where(table.c.id == sa.any_(some)).order_by(table.c.id)
        for row in await home.database.fetch_all(compile_statement(query)):
            message = codec.to_message(codec.from_row(row))
            shown = json_format.MessageToDict(message, preserving_proto_field_name=True)
            yield orjson.dumps(shown, option=orjson.OPT_INDENT_2)


async def _rows(
    home: Home, table: sa.Table, condition: sa.ColumnElement[bool]
) -> AsyncIterator[bytes]:
    key = list(table.primary_key.columns)
    names = [f"{column.name}" for column in table.columns]  # plain texts, for JSON
    offset = 0
    while True:
        query = sa.select(table).where(condition).order_by(*key).limit(_AT_ONCE).offset(offset)
        rows = await home.database.fetch_all(compile_statement(query))
        for row in rows:
            shown = {n: v for n, v in zip(names, row, strict=True) if not isinstance(v, bytes)}
            yield orjson.dumps(shown, default=str, option=orjson.OPT_INDENT_2)
        if len(rows) < _AT_ONCE:
            return
        offset += _AT_ONCE


async def _file(path: str, items: AsyncIterator[bytes]) -> AsyncIterator[PersonalDataPiece]:
    """A JSON list in pieces; nothing where there are no items."""
    begun = False
    async for item in items:
        data = (b",\n" if begun else b"[\n") + item
        begun = True
        for start in range(0, len(data), _PIECE_BYTES):
            yield PersonalDataPiece(path=path, data=data[start : start + _PIECE_BYTES])
    if begun:
        yield PersonalDataPiece(path=path, data=b"\n]\n")
