"""A collection of records: load, insert, save, list, look up; within the caller's record scope.

Every change goes through here, whether it comes from an RPC, an import or an event: it checks the record,
resolves its references, writes the row and publishes the events, all in the caller's transaction.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from copy import copy
from operator import itemgetter
from typing import Any, Generic, TypeVar
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb

from crmkit import contract, merges, picked_values
from crmkit.access import RecordScope
from crmkit.aggregate import Record
from crmkit.call import Call
from crmkit.codec import Codec, differ
from crmkit.custom_values import hide, store, store_many, with_hidden
from crmkit.errors import FailedPrecondition, Failure, NotFound
from crmkit.etags import check_etag
from crmkit.ids import uuid7
from crmkit.listing import Listing
from crmkit.names import parse_name
from crmkit.preparing import own, prepare, prepare_many
from crmkit.publishing import publish, publish_new
from crmkit.revisions import changes_between, first_changes
from crmkit.sharing import Found, is_shareable, is_shared, refuse_collaborator, within_reach
from crmkit.statements import (
    Statement,
    compile_statement,
    copy_target,
    insert_into,
    update_by_id,
)

E = TypeVar("E", bound=Record)
Rule = Callable[[Call, E, E | None], Awaitable[None]]


async def _no_rule(_call: Call, _after: Any, _before: Any) -> None:
    return None


class Collection(Generic[E]):
    """The records of one resource in this service's database.

    Args:
        message: The resource's generated class.
        entity: Its dataclass.
        table: Its table.
        natural_key: What tells records apart in imports without an external id; empty: nothing does.
        rule: What needs other records: called before every insert and save with the record after and
            before the change (None for a new one); may change it or raise.
        import_fields: Output-only fields that an import of history may set.
        private: Attributes that no message shows.
        unstored: Message fields that are not kept.
        purged_by_age: False where deleted records are only purged by hand: others know their names.
    """

    # Whether what a record refers to must not be purged; a log's names outlive what they name.
    holds_on: bool = True
    # The reference without which a record is nothing: it is purged with what that names.
    ends_with: str = ""
    # The verb of the method that makes records; a ledger's are recorded.
    made_by: str = "Create"
    # Which records become a successor's when their owner leaves.
    handed_over: sa.ColumnElement[bool] = sa.true()
    # What else follows its merges beside fields: called with all inside the one that stands for them.
    also_follow: Callable[[Call, Sequence[UUID], UUID], Awaitable[None]] | None = None
    # Refuses, by raising, to purge a record that has to stay; asked by hand and with age.
    before_purge: Callable[[Call, Any], Awaitable[None]] | None = None
    # How far the events of these records reach at most, whatever the reader's own scope.
    event_scope = RecordScope.ALL

    def __init__(
        self,
        message: type[Any],
        entity: type[E],
        table: sa.Table,
        *,
        natural_key: str = "display_name",
        rule: Rule[E] = _no_rule,
        import_fields: Sequence[str] = (),
        private: frozenset[str] = frozenset(),
        unstored: frozenset[str] = frozenset(),
        purged_by_age: bool = True,
    ) -> None:
        self.contract = contract.resource_of(message)
        self.name = self.contract.collection
        self.codec = Codec(self.contract, entity, table, private=private, unstored=unstored)
        self.entity = entity
        self.table = table
        self.natural_key = natural_key
        self.rule = rule
        self.import_fields = frozenset(import_fields)
        self.purged_by_age = purged_by_age
        # What a Create method makes and shows once cannot come from a file.
        self.importable = not unstored
        self.listing = Listing(self.codec)
        self.shareable = is_shareable(self.contract)
        # Id, owner and team of each record; another table's where they are not the record's own.
        self.whose: sa.FromClause = table
        columns = self.codec.columns
        by_id = sa.select(*columns).where(table.c.id == sa.bindparam("id", type_=sa.Uuid))
        wanted = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
        by_ids = sa.select(*columns).where(table.c.id == sa.any_(wanted))
        self._get = compile_statement(by_id)
        self._lock = compile_statement(by_id.with_for_update())
        self._batch_get = compile_statement(by_ids)
        self._always = {c.name for c in columns if c.server_default is not None}
        self._copy = copy_target(table, columns)
        self._in_order = itemgetter(*(column.name for column in columns))

    # -- scope

    def permission(self, verb: str) -> str:
        """The permission for a verb on this collection: `sales.opportunities.get`."""
        return f"{self.contract.service}.{self.name}.{verb}"

    def scope(self, call: Call, permission: str) -> RecordScope:
        """The records a caller may use with a permission; ALL for shared resources."""
        scope = call.principal.require(permission)
        return RecordScope.ALL if self.contract.shared else scope

    def _required(self, call: Call) -> str:
        if call.method is not None and call.method.permission:
            return call.method.permission
        return self.permission("get")

    def not_found(self, name: str) -> NotFound:
        """The failure for a record that is absent or out of scope."""
        msg = f"There is no {name}."
        return NotFound(msg, metadata={"resource": name})

    # -- reading

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> E:
        """One record, deleted or not, within the caller's scope; raises NotFound."""
        return await self._load(call, self._get, name, permission, field)

    async def _load(
        self, call: Call, statement: Statement, name: str | UUID, permission: str, field: str
    ) -> E:
        record_id = (
            parse_name(name, collection=self.name, field=field) if isinstance(name, str) else name
        )
        permission = permission or self._required(call)
        scope, principal = self.scope(call, permission), call.principal
        executor = call.reader if statement is self._get else call.tx
        row = await executor.fetch_one(statement, {"id": record_id})
        if row is not None:
            entity = self.codec.from_row(row)
            if getattr(entity, "merged_into", None):  # its name means the survivor
                (root,) = await merges.present(call, self.name, [record_id], executor=executor)
                return await self._load(call, statement, root, permission, field)
            hide(call, self.name, [entity])
            if principal.covers(scope, entity.owner, entity.team):
                return entity
            if self.shareable and await is_shared(executor, principal, permission, record_id):
                return entity
        raise self.not_found(self.codec.name_of(record_id))

    async def get_many(self, call: Call, ids: Sequence[UUID], *, permission: str = "") -> list[E]:
        """The records of these ids, or their survivors, within the caller's scope; in any order."""
        permission = permission or self._required(call)
        rows = await call.reader.fetch_all(self._batch_get, {"ids": list(ids)})
        entities = [self.codec.from_row(row) for row in rows]
        if any(getattr(e, "merged_into", None) for e in entities):
            there = await merges.present(call, self.name, ids)
            return await self.get_many(call, there, permission=permission)
        found = [(e.id, e.owner, e.team) for e in entities]
        reached = await self.within_reach(call, permission, found)
        return hide(call, self.name, [e for e in entities if e.id in reached])

    async def within_reach(self, call: Call, permission: str, found: Sequence[Found]) -> set[UUID]:
        """Those of some records with which the caller may use a permission."""
        scope = self.scope(call, permission)
        return await within_reach(
            call.reader, call.principal, (self.contract, permission), scope, found
        )

    async def list_page(self, call: Call, request: Any, size: int) -> tuple[list[E], str]:
        """A page of records for a List request, and the token of the next page, empty on the last."""
        scope = self.scope(call, self._required(call))
        entities, token = await self.listing.page(call, scope, request, size)
        return hide(call, self.name, entities), token

    # -- changing

    def message(self, entity: E) -> Any:
        """The record as clients see it."""
        return self.codec.to_message(entity)

    @asynccontextmanager
    async def changing(self, call: Call, request: Any) -> AsyncIterator[E]:
        """The record that a custom method's request names, locked; saved when the block ends well."""
        entity = await self.for_change(call, request.name, request.etag)
        yield entity
        await self.save(call, entity)

    async def for_change(
        self,
        call: Call,
        name: str | UUID,
        etag: str = "",
        *,
        deleted: bool = False,
        field: str = "name",
    ) -> E:
        """A record locked for a change.

        Raises:
            NotFound: There is none within the caller's scope.
            FailedPrecondition: It is deleted (or, for an undelete, it is not).
            Aborted: The etag is not the latest.
        """
        entity = await self._load(call, self._lock, name, "", field)
        if not deleted and entity.delete_time is not None:
            msg = f"{self.codec.name_of(entity.id)} is deleted; restore it first."
            raise FailedPrecondition(msg, reason="RECORD_DELETED")
        check_etag(self.codec.name_of(entity.id), etag, entity.version)
        call.state[entity.id] = (copy(entity), self.codec.to_row(entity))
        return entity

    def new(self, call: Call, values: dict[str, Any], *, record_id: UUID | None = None) -> E:
        """A new record, not yet stored: owned by the caller unless the values say otherwise."""
        stamps = {"create_time": call.now, "update_time": call.now, "creator": call.principal.user}
        entity = self.entity(id=record_id or uuid7(), **{**stamps, **values})
        if not self.contract.shared:
            self._own(call, entity, entity.owner or call.principal.user)
        return entity

    def _own(self, call: Call, entity: E, owner: UUID | None) -> None:
        own(call, self.contract, entity, owner, self.scope(call, self._required(call)))

    async def insert(self, call: Call, entity: E) -> E:
        """Stores a new record, begins its history and publishes `created`, or what it noted itself."""
        picked_values.settle(call, self.codec, entity)
        await prepare(self, call, entity, None, self.codec.writable)
        row = self.codec.to_row(entity)
        # What is empty stays out: psycopg reads statements of more than 50 parameters anew each time.
        filled = {n: value for n, value in row.items() if value is not None or n in self._always}
        await call.tx.execute(insert_into(self.table, tuple(filled)), filled)
        await store(call, self.name, entity, {})
        await publish(self.codec, call, entity, "created", first_changes(self.codec, row))
        return entity

    async def insert_many(self, call: Call, entities: Sequence[E]) -> None:
        """Stores many new records, already prepared with `prepare_many`, with COPY."""
        rows = [self.codec.to_row(entity) for entity in entities]
        await call.tx.copy(self._copy, map(self._in_order, rows))
        await store_many(call, self.name, entities)
        changes = [first_changes(self.codec, row) for row in rows]
        await publish_new(self.codec, call, entities, changes)

    async def save(self, call: Call, entity: E, kind: str = "updated") -> E:
        """Stores a record got with `for_change` as its next version.

        Publishes what the record noted, else `kind`. Only the columns that differ are written.
        """
        before, row_before = call.state[entity.id]
        if entity.owner != before.owner and not self.contract.shared:
            refuse_collaborator(call.principal, self.scope(call, self._required(call)), before)
            self._own(call, entity, entity.owner)
        picked_values.settle(call, self.codec, entity, before)
        row = self.codec.to_row(entity)
        # Columns, not fields: a new password shows in none.
        if not entity.events and not any(differ(row_before[name], v) for name, v in row.items()):
            return entity  # nothing happened: no version, no event
        changed = self.codec.changed_fields(row_before, row)
        await prepare(self, call, entity, before, changed)
        row = self.codec.to_row(entity)
        columns = [name for name, value in row.items() if differ(row_before[name], value)]
        if not entity.events and not columns:
            return entity  # the same in another spelling
        entity.version, entity.update_time = entity.version + 1, call.now
        row |= {"version": entity.version, "update_time": entity.update_time}
        written = {name: row[name] for name in (*columns, "version", "update_time")}
        if "custom_fields" in written:
            written["custom_fields"] = Jsonb(with_hidden(call, entity))
        written |= await merges.columns_beside(call, self, entity.id, (row_before, row))
        await call.tx.execute(update_by_id(self.table, tuple(written)), written | {"id": entity.id})
        await store(call, self.name, entity, before.custom_fields)
        changed = self.codec.changed_fields(row_before, row)
        changes = changes_between(self.codec, row_before, row, changed)
        await publish(self.codec, call, entity, kind, changes)
        call.state[entity.id] = (copy(entity), row)
        return entity

    async def prepare_many(
        self, call: Call, entities: Sequence[E], *, checked: bool = False
    ) -> list[Failure | None]:
        """What `insert` does before it writes, for many new records: see `preparing`."""
        return await prepare_many(self, call, entities, checked=checked)
