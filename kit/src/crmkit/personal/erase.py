"""Erasing a person in one service: everything that can be repeated, in steps of their own.

By reference: records that refer to the person lose what is personal in them, with their comments, files and
history. By address: every other text that quotes an address or a number of the person loses it.
"""

from dataclasses import replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit.access import service_principal
from crmkit.call import Call, Home, new_call
from crmkit.children import comments
from crmkit.collection import Collection
from crmkit.personal.answers import strip_answers
from crmkit.personal.declaration import Kept
from crmkit.personal.reach import find
from crmkit.personal.records import emptied, forget_history, rewrite
from crmkit.personal.subject import Found, Subject
from crmkit.personal.texts import redact_records, redact_rows
from crmkit.statements import compile_statement


async def erase(home: Home, subject: Subject, heard: datetime | None = None) -> Found:
    """Erases a person but for the records that are them; answers what there was."""
    found = replace(await find(home, subject), heard=heard)
    for keeper in home.personal.keepers:
        await keeper.erase(home, found)
    for name, ids in found.about.items():
        for id_ in ids:
            await _erase_about(home, home.collections[name], id_)
    for name, ids in found.own.items():
        for id_ in ids:
            async with home.database.transaction() as tx:
                await _forget_children(_call(home, tx), home.collections[name], id_)
    for kept in home.personal.kept:
        if kept.about:
            await _delete_about(home, kept, found)
        await redact_rows(home, kept, subject.redactor)
    for name, collection in home.collections.items():
        # Of other people only what was written about somebody: how to reach them is theirs.
        but = home.personal.not_redacted if name in home.personal.persons else frozenset()
        await redact_records(home, collection, subject.redactor, but, found.own.get(name, ()))
    await strip_answers(home, found)
    return found


async def erase_own(call: Call, name: str, id_: UUID, kind: str, change: Any) -> None:
    """Takes everything out of a record that is the person, in the caller's transaction."""
    collection = call.home.collections[name]
    empty = emptied(call, collection, wholly=True)

    def both(entity: Any) -> None:
        empty(entity)
        change(entity)

    await rewrite(call, collection, id_, both, kind)
    await forget_history(call, collection, id_, wholly=True)


async def _erase_about(home: Home, collection: Collection[Any], id_: UUID) -> None:
    async with home.database.transaction() as tx:
        call = _call(home, tx)
        await rewrite(call, collection, id_, emptied(call, collection, wholly=False))
        await _forget_children(call, collection, id_)


async def _forget_children(call: Call, collection: Collection[Any], id_: UUID) -> None:
    await forget_history(call, collection, id_)
    await comments.forget(call.tx, id_)


async def _delete_about(home: Home, kept: Kept, found: Found) -> None:
    await home.database.execute(compile_statement(sa.delete(kept.table).where(about(kept, found))))


def about(kept: Kept, found: Found) -> sa.ColumnElement[bool]:
    """The condition that a row is about a record found."""
    column = kept.table.c[kept.about]
    if isinstance(column.type, sa.Uuid):
        return column == sa.any_(sa.literal(found.ids, sa.ARRAY(sa.Uuid)))
    below = [f"{name}/%" for name in found.names]
    return sa.or_(
        column == sa.any_(sa.literal(found.names, sa.ARRAY(sa.Text))),
        column.like(sa.any_(sa.literal(below, sa.ARRAY(sa.Text)))),
    )


def _call(home: Home, tx: Any) -> Call:
    return new_call(home, service_principal(home.name), tx)
