"""The definitions of custom fields, as each process knows them.

They are kept in memory and read again within a second of a change anywhere; what this process changes itself
it knows from the moment of the commit.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import psycopg
import sqlalchemy as sa

from crmkit.custom_fields.tables import CUSTOM_FIELD
from crmkit.db import Database, Executor
from crmkit.errors import Failure
from crmkit.statements import Row, compile_statement

_SECONDS_BETWEEN_LOOKS = 1.0
COLUMNS = tuple(CUSTOM_FIELD.columns)
_NAMES = tuple(column.name for column in COLUMNS)
_ALL = compile_statement(
    sa.select(*COLUMNS).order_by(CUSTOM_FIELD.c.position, CUSTOM_FIELD.c.field_id)
)
# Every change of a definition is a new version of it, and no definition is ever removed.
_STATE = compile_statement(sa.select(sa.func.coalesce(sa.func.sum(CUSTOM_FIELD.c.version), 0)))


@dataclass(frozen=True, slots=True)
class Option:
    """One of the values that may be chosen; a retired one is chosen no longer."""

    option_id: str
    display_name: str
    retired: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class CustomField:
    """A definition; attributes as in the contract."""

    id: UUID
    version: int
    create_time: datetime
    update_time: datetime
    delete_time: datetime | None
    creator: UUID | None
    resource: str
    field_id: str
    display_name: str
    type: str
    options: tuple[Option, ...]
    target: str
    required: bool
    unique: bool
    default_value: Any
    personal: bool
    filterable: bool
    sortable: bool
    help_text: str
    position: int

    @property
    def indexed(self) -> bool:
        """Whether every value must fit into an index."""
        return self.filterable or self.sortable or self.unique


def definition_of(values: Row) -> CustomField:
    """The definition of a row selected with `COLUMNS`."""
    row = dict(zip(_NAMES, values, strict=True))
    options = tuple(Option(**option) for option in row.pop("options"))
    return CustomField(options=options, **row)


class ResourceFields:
    """The custom fields of one resource at one time; never changed.

    Attributes:
        all: Also the deleted ones: records may still hold their values.
        by_id: Those that records show, by `field_id`, in the order in which people see them.
        personal: The ids of all whose values are personal data, deleted ones included.
    """

    def __init__(self, fields: Sequence[CustomField]) -> None:
        self.all = tuple(fields)
        self.by_id = {f.field_id: f for f in fields if f.delete_time is None}
        self.personal = frozenset(f.field_id for f in fields if f.personal)
        self.required = tuple(f for f in self.by_id.values() if f.required)
        self.defaults = {
            f.field_id: f.default_value for f in self.by_id.values() if f.default_value is not None
        }

    def shown(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of fields that are there; those of deleted ones are not shown."""
        if values.keys() <= self.by_id.keys():
            return values
        return {id_: value for id_, value in values.items() if id_ in self.by_id}

    def public(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values that may be in events."""
        return {
            id_: value
            for id_, value in values.items()
            if id_ in self.by_id and id_ not in self.personal
        }


_NONE = ResourceFields(())


class CustomFields:
    """The definitions of one service, in memory."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[UUID, CustomField] = {}
        self._resources: dict[str, ResourceFields] = {}

    def of(self, resource: str) -> ResourceFields:
        """The fields of a collection."""
        return self._resources.get(resource, _NONE)

    def learn(self, fields: Sequence[CustomField]) -> None:
        """Takes definitions over; never an older version than the one that is known."""
        for field in fields:
            known = self._known.get(field.id)
            if known is None or known.version < field.version:
                self._known[field.id] = field
        by_resource: dict[str, list[CustomField]] = defaultdict(list)
        for field in sorted(self._known.values(), key=lambda f: (f.position, f.field_id)):
            by_resource[field.resource].append(field)
        self._resources = {name: ResourceFields(some) for name, some in by_resource.items()}

    async def reload(self) -> None:
        """Reads every definition."""
        self.learn([definition_of(row) for row in await self._database.fetch_all(_ALL)])

    async def keep_fresh(self, stop: asyncio.Event) -> None:
        """Reads again what another process has changed."""
        seen: object = None
        while not stop.is_set():
            with suppress(psycopg.Error, Failure):  # the database is away: what we know stays
                state = await self._database.fetch_one(_STATE)
                if state != seen:
                    await self.reload()
                    seen = state
            with suppress(TimeoutError):
                async with asyncio.timeout(_SECONDS_BETWEEN_LOOKS):
                    await stop.wait()


async def find(executor: Executor, id_: UUID, *, lock: bool = False) -> CustomField | None:
    """A definition, if there is one; locked until the transaction ends if asked."""
    query = sa.select(*COLUMNS).where(CUSTOM_FIELD.c.id == id_)
    row = await executor.fetch_one(compile_statement(query.with_for_update() if lock else query))
    return definition_of(row) if row is not None else None
