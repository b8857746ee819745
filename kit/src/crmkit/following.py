"""Fields that follow merges: what they show, and beside it what was recorded.

A field `account` follows if its table has a column `account_as_recorded`, which is NULL where both are the
same. It is written here alone: neither messages nor history know it. Lists show each survivor once.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crmkit import contract
from crmkit.codec import Codec
from crmkit.db import Transaction
from crmkit.following_statements import (
    RECORDED,
    follow_one,
    put_lists,
    recorded_of,
    touched_lists,
)

# Collection and ids → who stands for those of them that were merged.
FindSurvivors = Callable[[str, Iterable[UUID]], Awaitable[Mapping[UUID, UUID]]]
Roots = Mapping[str, str]  # of resource names
_AT_ONCE = 500


@dataclass(frozen=True)
class Following:
    """A field that follows merges.

    Attributes:
        collections: What it may refer to.
        inner: The part of a list's items that refers; empty where the field itself does.
        listed: True for a list of names.
    """

    table: sa.Table
    name: str
    collections: tuple[str, ...]
    inner: str = ""
    listed: bool = False

    @property
    def single(self) -> bool:
        """True where the field is the reference, not a list."""
        return not self.inner and not self.listed

    # -- when a record is merged, or not any more

    async def follow(
        self,
        tx: Transaction,
        collection: str,
        inside: Sequence[UUID],
        root: UUID,
        find: FindSurvivors,
    ) -> int:
        """Shows a record in the place of all that lies in it; answers in how many records."""
        if self.single:
            statement = follow_one(self.table.name, self.name)
            row = await tx.fetch_one(statement, {"ids": list(inside), "root": root})
            return int(row[0]) if row else 0
        count = 0
        touched = touched_lists(self.table.name, self.name, names=self.listed)
        found = await tx.fetch_all(touched, {"keys": self._keys(collection, inside)})
        for start in range(0, len(found), _AT_ONCE):
            count += await self._follow_some(tx, found[start : start + _AT_ONCE], find)
        return count

    async def _follow_some(self, tx: Transaction, rows: Sequence[Any], find: FindSurvivors) -> int:
        recorded = {id_: before if before is not None else now for id_, now, before in rows}
        roots = await self._roots([item for items in recorded.values() for item in items], find)
        changes = []
        for id_, now, _ in rows:
            after = self.shown(recorded[id_], roots)
            if after != now:
                kept = None if after == recorded[id_] else recorded[id_]
                changes.append({"id": str(id_), "shown": after, "recorded": kept})
        if changes:
            put = put_lists(self.table.name, self.name, names=self.listed)
            await tx.execute(put, {"changes": Jsonb(changes)})
        return len(changes)

    def _keys(self, collection: str, ids: Iterable[UUID]) -> Any:
        if self.listed:
            return [f"{collection}/{id_}" for id_ in ids]
        return [Jsonb([{self.inner: str(id_)}]) for id_ in ids]

    # -- lists

    def key(self, item: Any) -> str:
        """The name of what an item refers to; empty where it refers to nothing that can be merged."""
        if self.listed:
            return str(item)
        id_ = item.get(self.inner)
        return f"{self.collections[0]}/{id_}" if id_ else ""

    async def _roots(self, items: Iterable[Any], find: FindSurvivors) -> dict[str, str]:
        by_collection: dict[str, set[UUID]] = {}
        for name in {self.key(item) for item in items} - {""}:
            collection, _, id_ = name.partition("/")
            by_collection.setdefault(collection, set()).add(UUID(id_))
        return {
            f"{collection}/{id_}": f"{collection}/{root}"
            for collection, ids in by_collection.items()
            for id_, root in (await find(collection, ids)).items()
        }

    def shown(self, items: Sequence[Any], roots: Roots) -> list[Any]:
        """A list with survivors in the place of the merged; each once, where the first of its items stood."""
        together: dict[str, list[Any]] = {}
        for index, item in enumerate(items):
            key = self.key(item)
            together.setdefault(roots.get(key, key) or f"#{index}", []).append(item)
        return [self._one(root, entries) for root, entries in together.items()]

    def _one(self, root: str, entries: list[Any]) -> Any:
        """Several items as one: the survivor's own leads, the others fill in; what one of them is, it is."""
        if root.startswith("#") or (self.key(entries[0]) == root and len(entries) == 1):
            return entries[0]
        if self.listed:
            return root
        own = next((entry for entry in entries if self.key(entry) == root), entries[0])
        one = {**own, self.inner: root.partition("/")[2]}
        for entry in entries:
            for part, value in entry.items():
                if one.get(part) is None or value is True:
                    one[part] = value if part != self.inner else one[part]
        return one

    def recorded(
        self, before: Sequence[Any], recorded: Sequence[Any], after: Sequence[Any], roots: Roots
    ) -> list[Any]:
        """What counts as recorded when somebody changes a list: what they did not touch stays as it was."""
        origins: dict[str, list[Any]] = {}
        for item in recorded:
            key = self.key(item)
            origins.setdefault(roots.get(key, key), []).append(item)
        was = {self.key(item): item for item in before}
        found: list[Any] = []
        for item in after:
            key = self.key(item)
            entries = origins.get(key, []) if key else []
            found += _rewritten(entries, was.get(key), item) if entries else [item]
        return found

    # -- when somebody writes the record

    async def columns(
        self, tx: Transaction, record: UUID, before: Any, after: Any, find: FindSurvivors
    ) -> dict[str, Any]:
        """What a write of this field writes beside it: what nobody touched stays as it was recorded."""
        column = self.name + RECORDED
        if self.single:
            return {column: None}
        row = await tx.fetch_one(recorded_of(self.table.name, self.name), {"id": record})
        if row is None or row[0] is None:
            return {}
        before, after = _plain(before), _plain(after)
        kept = self.recorded(before, row[0], after, await self._roots(row[0], find))
        value = None if kept == after else kept
        return {column: value if self.listed or value is None else Jsonb(value)}

    def redirect(self, codec: Codec[Any], entity: Any, roots: Mapping[UUID, UUID]) -> None:
        """Makes a record refer to the survivors instead of the merged."""
        value = getattr(entity, self.name)
        if self.single:
            setattr(entity, self.name, roots.get(value, value))
            return
        row: dict[str, Any] = {}
        codec.fields[self.name].store(row, value)
        names = {
            f"{collection}/{id_}": f"{collection}/{root}"
            for collection in self.collections
            for id_, root in roots.items()
        }
        items = self.shown(_plain(row[self.name]), names)
        setattr(
            entity, self.name, items if self.listed else codec.fields[self.name].from_json(items)
        )


def _rewritten(entries: list[Any], before: Any, after: Any) -> list[Any]:
    """What was recorded of an item that somebody wrote: changed alike; a flag raised is the survivor's."""
    if before is None or before == after:
        return entries
    changed = {p: after.get(p) for p in {*before, *after} if before.get(p) != after.get(p)}
    if any(value is True for value in changed.values()):
        return [after]
    return [
        {part: value for part, value in {**entry, **changed}.items() if value is not None}
        for entry in entries
    ]


def _plain(value: Any) -> list[Any]:
    return list(value.obj if isinstance(value, Jsonb) else value or [])


def recorded_index(table: str, field: str, operators: str = "") -> list[sa.Index]:
    """The index of what was recorded where that is not what is shown; with operators for lists."""
    column = field + RECORDED
    kept = sa.text(f"{column} IS NOT NULL")
    name = f"ix_{table}_{column}"
    if not operators:
        return [sa.Index(name, column, postgresql_where=kept)]
    options: dict[str, Any] = {"postgresql_using": "gin", "postgresql_ops": {column: operators}}
    return [sa.Index(name, column, postgresql_where=kept, **options)]


# -- which fields


@lru_cache(maxsize=256)
def referring_fields(codec: Codec[Any]) -> tuple[Following, ...]:
    """Every field of a resource that refers to records, at first hand or in its items."""
    found = []
    descriptor: Any = codec.contract.message.DESCRIPTOR
    for field in descriptor.fields:
        if field.name not in codec.fields:
            continue
        referred = contract.collections_of(field)
        if referred:
            listed = codec.fields[field.name].filter_kind == "record_names"
            if listed or not field.is_repeated:
                found.append(Following(codec.table, field.name, referred, listed=listed))
        elif field.is_repeated and field.message_type is not None:
            found += [
                Following(codec.table, field.name, contract.collections_of(part), part.name)
                for part in field.message_type.fields
                if contract.collections_of(part)
            ]
    return tuple(found)


@lru_cache(maxsize=256)
def fields_that_follow(codec: Codec[Any]) -> tuple[Following, ...]:
    """Those of them that follow merges."""
    return tuple(
        field for field in referring_fields(codec) if field.name + RECORDED in codec.table.c
    )
