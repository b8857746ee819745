"""Which events somebody may read: those of the records that they may read now.

Whose a record is, is asked of the record, not of its event: who gets a record gets its past, and who gave it
away reads no more of it than of the record. What an event says counts where the record is no more.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crm.common.v1.feed_pb2 import FeedEvent
from crmkit import contract
from crmkit.access import RecordScope, scope_condition
from crmkit.db import Executor
from crmkit.feed.events import LOG_COLUMNS, Event
from crmkit.schema import EVENT_LOG
from crmkit.sharing import shared_records
from crmkit.statements import Statement, compile_statement

SCOPES = (RecordScope.OWN, RecordScope.TEAM, RecordScope.SUBTREE, RecordScope.ALL)
Standing = tuple[UUID | None, UUID | None]  # owner and team

_collection = sa.func.split_part(EVENT_LOG.c.subject, "/", 1)
_record = sa.func.split_part(EVENT_LOG.c.subject, "/", 2)
_ids = shared_records().subquery()
_is_shared = sa.and_(
    _collection == sa.any_(sa.bindparam("collections_shared", type_=sa.ARRAY(sa.Text))),
    _record.in_(sa.select(sa.cast(_ids.c.record, sa.Text))),
)


def owned(tables: Mapping[str, sa.FromClause]) -> Mapping[str, sa.FromClause]:
    """Of some tables by collection those whose records belong to somebody."""
    known = contract.collections()
    return {name: t for name, t in tables.items() if name in known and not known[name].shared}


class VisibleEvents:
    """The events of one service's log, and whose its records are."""

    def __init__(self, tables: Mapping[str, sa.FromClause]) -> None:
        """Takes the tables of the service's own records, by collection."""
        self._tables = owned(tables)
        ids = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
        self._standings = {
            name: compile_statement(
                sa.select(t.c.id, t.c.owner, t.c.team).where(t.c.id == sa.any_(ids))
            )
            for name, t in self._tables.items()
        }

    @cached_property
    def read(self) -> Statement:
        """Those after a position, until another: `after`, `until`, `count`, and the scopes' parameters."""
        return compile_statement(
            self._visible().where(EVENT_LOG.c.feed_seq <= sa.bindparam("until"))
        )

    @cached_property
    def read_of_subject(self) -> Statement:
        """Those of one record after a position; `subject` instead of `until`."""
        return compile_statement(
            self._visible().where(EVENT_LOG.c.subject == sa.bindparam("subject"))
        )

    def _visible(self) -> "sa.Select[Any]":
        return (
            sa.select(*(EVENT_LOG.c[name] for name in LOG_COLUMNS))
            .where(EVENT_LOG.c.feed_seq > sa.bindparam("after"))
            .where(sa.or_(*(self._in_scope(scope) for scope in SCOPES), _is_shared))
            .order_by(EVENT_LOG.c.feed_seq)
            .limit(sa.bindparam("count"))
        )

    def _in_scope(self, scope: RecordScope) -> sa.ColumnElement[bool]:
        names = sa.bindparam(f"collections_{scope.name.lower()}", type_=sa.ARRAY(sa.Text))
        named = _collection == sa.any_(names)
        then = scope_condition(EVENT_LOG, scope)
        if then is None or not self._tables:
            return named if then is None else sa.and_(named, then)
        now = [
            (_collection == name, sa.func.coalesce(_now(table, scope), then))
            for name, table in self._tables.items()
        ]
        return sa.and_(named, sa.case(*now, else_=then))

    async def standings(
        self, executor: Executor, wires: Sequence[FeedEvent]
    ) -> Mapping[str, Standing]:
        """Whose the records are now, by `collection/id`; those that are no more are left out."""
        wanted: dict[str, set[UUID]] = {}
        for wire in wires:
            collection, _, id_ = record_of(wire).partition("/")
            if collection in self._tables:
                wanted.setdefault(collection, set()).add(UUID(id_))
        found: dict[str, Standing] = {}
        for collection, ids in wanted.items():
            rows = await executor.fetch_all(self._standings[collection], {"ids": list(ids)})
            found |= {f"{collection}/{row[0]}": (row[1], row[2]) for row in rows}
        return found


def record_of(wire: FeedEvent) -> str:
    """The record that an event is about: of a comment's, the record that it stands at."""
    return "/".join(wire.subject.split("/")[:2])


def standing_of(standings: Mapping[str, Standing], wire: FeedEvent) -> Standing:
    """Whose an event's record is: now, or as the event says where it is no more."""
    event = Event(wire)
    return standings.get(record_of(wire), (event.owner, event.team))


def _now(table: sa.FromClause, scope: RecordScope) -> sa.ScalarSelect[bool]:
    """Whether the event's record lies in the scope now; NULL where it is no more."""
    condition = scope_condition(table, scope)
    assert condition is not None
    in_scope = sa.func.coalesce(condition, sa.false())
    id_ = sa.cast(_record, sa.Uuid)
    return sa.select(in_scope).where(table.c.id == id_).correlate(EVENT_LOG).scalar_subquery()
