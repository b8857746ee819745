"""Which records of a service are about a person: those that refer to them, or can be reached as they can."""

from collections.abc import Iterator
from functools import cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crmkit import contract
from crmkit.call import Home
from crmkit.codec import Codec
from crmkit.collection import Collection
from crmkit.db import Executor
from crmkit.personal.subject import Found, Subject
from crmkit.statements import compile_statement

_AT_ONCE = 1000
_POINTS = {"crm.common.v1.EmailAddress": "address", "crm.common.v1.PhoneNumber": "number"}


async def find(home: Home, subject: Subject, executor: Executor | None = None) -> Found:
    """The records of a service that are a person, and those that are about them."""
    reader = executor or home.database
    own, about = {}, {}
    for name, collection in sorted(home.collections.items()):
        ids = subject.records.get(name)
        if ids:
            query = sa.select(collection.table.c.id).where(collection.table.c.id.in_(ids))
            rows = await reader.fetch_all(compile_statement(query.order_by(collection.table.c.id)))
            own[name] = [row[0] for row in rows]
        condition = refers(home, collection, subject)
        if condition is not None and (found := await _ids(reader, collection, condition)):
            about[name] = found
    return Found(subject, own, about)


async def _ids(
    reader: Executor, collection: Collection[Any], condition: sa.ColumnElement[bool]
) -> list[UUID]:
    column = collection.table.c.id
    query = sa.select(column).where(condition).order_by(column).limit(_AT_ONCE)
    found: list[UUID] = []
    while True:
        page = query.where(column > sa.literal(found[-1], sa.Uuid)) if found else query
        rows = await reader.fetch_all(compile_statement(page))
        found += [row[0] for row in rows]
        if len(rows) < _AT_ONCE:
            return found


def refers(
    home: Home, collection: Collection[Any], subject: Subject
) -> sa.ColumnElement[bool] | None:
    """The condition that a record refers to a subject; None where no record of the collection can."""
    if collection.name in home.personal.persons:
        return None
    about = home.personal.about.get(collection.name)
    found = [
        condition
        for name, ids in subject.records.items()
        for condition in _conditions(collection.codec, name, sorted(ids))
    ]
    if about is not None:
        found.append(_named(collection.table.c[about], subject))
    found += _reached(collection.codec, subject)
    return sa.or_(*found) if found else None


def _reached(codec: Codec[Any], subject: Subject) -> Iterator[sa.ColumnElement[bool]]:
    """A record with an e-mail address or a phone number of the subject is the subject: a lead."""
    for name, key in _points(codec):
        column = sa.type_coerce(codec.table.c[name], JSONB)
        for text in subject.texts:
            yield column.contains(sa.literal([{key: text}], JSONB))


def _points(codec: Codec[Any]) -> list[tuple[str, str]]:
    """The fields of a resource that say how to reach somebody, and what does it in their items."""
    fields = codec.contract.message.DESCRIPTOR.fields
    kinds = {f.name: f.message_type.full_name for f in fields if f.message_type is not None}
    return [
        (n, _POINTS[kind]) for n, kind in kinds.items() if kind in _POINTS and n in codec.fields
    ]


def _named(column: sa.ColumnElement[Any], subject: Subject) -> sa.ColumnElement[bool]:
    """A column that names a record of the subject, or what belongs to it."""
    texts = sa.literal(subject.names, sa.ARRAY(sa.Text))
    below = sa.literal([f"{name}/%" for name in subject.names], sa.ARRAY(sa.Text))
    return sa.or_(column == sa.any_(texts), column.like(sa.any_(below)))


def can_refer(codec: Codec[Any], collection: str) -> bool:
    """True if records of a resource can refer to those of a collection."""
    return any(True for _ in _fields(codec, collection))


@cache
def _fields(codec: Codec[Any], collection: str) -> list[tuple[str, str, bool]]:
    """Field, field within (or empty), and whether it holds names instead of ids."""
    found = []
    descriptor: Any = codec.contract.message.DESCRIPTOR
    for field in descriptor.fields:
        if field.name not in codec.fields:
            continue
        if collection in contract.collections_of(field):
            found.append((field.name, "", codec.fields[field.name].filter_kind == "record_names"))
        elif field.is_repeated and field.message_type is not None:
            found += [
                (field.name, inner.name, False)
                for inner in field.message_type.fields
                if collection in contract.collections_of(inner)
            ]
    return found


def _conditions(
    codec: Codec[Any], collection: str, ids: list[UUID]
) -> Iterator[sa.ColumnElement[bool]]:
    for name, inner, by_name in _fields(codec, collection):
        column = codec.table.c[name]
        if inner:
            items = [sa.literal([{inner: str(id_)}], JSONB) for id_ in ids]
            yield sa.or_(*(sa.type_coerce(column, JSONB).contains(item) for item in items))
        elif by_name:
            names = sa.literal([f"{collection}/{id_}" for id_ in ids], sa.ARRAY(sa.Text))
            yield column.op("&&", is_comparison=True)(names)
        elif isinstance(column.type, sa.ARRAY):
            yield column.op("&&", is_comparison=True)(sa.literal(ids, sa.ARRAY(sa.Uuid)))
        else:
            yield column == sa.any_(sa.literal(ids, sa.ARRAY(sa.Uuid)))
