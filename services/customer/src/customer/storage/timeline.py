"""Timelines: what happened, once for each party that it concerns, so that a page is one read of an index.

An entry stands in the timelines of the records that it names, of the account of each person among them, and
of the customer that a named opportunity or ticket belongs to (`via` says which one; it follows when that
changes). In its own record's timeline it always stands: from there it is copied when the record is about
somebody else.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, insert

from crmkit.call import Call
from crmkit.statements import TEXT, TIMESTAMP, Statement, compile_statement
from customer.storage.appointment import appointments
from customer.storage.contact import contacts
from customer.storage.schema import CUSTOMER
from customer.storage.timeline_record import timeline_records

# Where an entry stands in a timeline by itself.
DIRECTLY = UUID(int=0)

timeline_entries = sa.Table(
    "timeline_entries",
    CUSTOMER,
    sa.Column("party", sa.Uuid, primary_key=True),
    sa.Column("effective_time", TIMESTAMP, primary_key=True),
    sa.Column("id", sa.Uuid, primary_key=True),
    sa.Column("via", sa.Uuid, primary_key=True),
    sa.Column("party_as_recorded", sa.Uuid, primary_key=True),
    sa.Column("time", TIMESTAMP, nullable=False),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("source", TEXT, nullable=False),
    sa.Column("collection", TEXT, nullable=False),
    sa.Column("record", sa.Uuid, nullable=False),
    sa.Column("guard", sa.Uuid, nullable=False),
    sa.Column("actor", TEXT, nullable=False),
    sa.Column("data", JSONB, nullable=False),
    sa.Column("touch", sa.Boolean, nullable=False),
    sa.Column("owner", sa.Uuid),
    sa.Column("team", sa.Uuid),
    sa.Column("deleted", sa.Boolean, nullable=False),
    sa.Column("invited", sa.ARRAY(sa.Uuid), nullable=False, server_default=sa.text("'{}'")),
    sa.Index("ix_timeline_entries_guard", "guard"),
    sa.Index(
        "ix_timeline_entries_via",
        "via",
        postgresql_where=sa.text("via <> '00000000-0000-0000-0000-000000000000'"),
    ),
    sa.Index(
        "ix_timeline_entries_merged",
        "party_as_recorded",
        postgresql_where=sa.text("party <> party_as_recorded"),
    ),
    sa.Index(
        "ix_timeline_entries_touch",
        "party",
        "effective_time",
        "id",
        postgresql_where=sa.text("touch AND NOT deleted"),
    ),
)


@dataclass(frozen=True, kw_only=True)
class Entry:
    """Something that happened.

    Attributes:
        id: The event's; an interaction's own, which is one entry however often it is corrected.
        record: What it tells of, in `collection`.
        guard: The record whose owner and team say who sees it: itself, or a consent's contact.
        data: Facts without personal data.
        touch: True where we met the customer.
    """

    id: UUID
    time: datetime
    effective_time: datetime
    kind: str
    source: str
    collection: str
    record: UUID
    guard: UUID
    actor: str
    data: dict[str, str]
    touch: bool
    owner: UUID | None
    team: UUID | None
    deleted: bool


_e, _r = timeline_entries.c, timeline_records.c
_RECORD = sa.bindparam("record", type_=sa.Uuid)
_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))
_DIRECTLY = sa.literal(DIRECTLY, sa.Uuid)
_PLACE = (_e.party, _e.party_as_recorded, _e.via)
_WHAT = tuple(c for c in timeline_entries.columns if c not in {*_PLACE, _e.invited})
_CUSTOMERS = ((_r.account, _r.account_as_recorded), (_r.contact, _r.contact_as_recorded))


def _participants(of: str) -> "sa.Select[Any]":
    """The ids of the users, or contacts, who take part in an appointment: no event names them."""
    who = sa.func.unnest(appointments.c.participants).column_valued("who")
    id_ = sa.cast(sa.func.split_part(who, "/", 2), sa.Uuid)
    query = sa.select(id_.label("id")).select_from(appointments)
    return query.where(appointments.c.id == _RECORD, who.like(f"{of}/%"))


def _invited() -> sa.ColumnElement[Any]:
    return sa.func.array(_participants("users").scalar_subquery(), type_=sa.ARRAY(sa.Uuid))


def _reached() -> sa.CTE:
    """The parties in whose timelines an entry stands: party, as recorded, via."""
    given = sa.func.unnest(sa.bindparam("named", type_=sa.ARRAY(sa.Uuid))).column_valued("given")
    named = sa.union(sa.select(given.label("id")), _participants("contacts")).cte("named")
    direct = sa.select(
        named.c.id.label("party"), named.c.id.label("recorded"), _DIRECTLY.label("via")
    )
    account, recorded = contacts.c.account, contacts.c.account_as_recorded
    employer = sa.select(account, sa.func.coalesce(recorded, account), _DIRECTLY).join(
        named, named.c.id == contacts.c.id
    )
    customers = [
        sa.select(party, recorded, _r.id)
        .join_from(timeline_records, named, named.c.id == _r.id)
        .where(party.is_not(None))
        for party, recorded in _CUSTOMERS
    ]
    return sa.union(direct, employer.where(account.is_not(None)), *customers).cte("reached")


def _insert(query: Any) -> Statement:
    names = [column.name for column in (*_PLACE, *_WHAT, _e.invited)]
    into = insert(timeline_entries).from_select(names, query)
    return compile_statement(into.on_conflict_do_nothing())


def _enter() -> Statement:
    to = _reached()
    what = [sa.bindparam(column.name, type_=column.type) for column in _WHAT]
    return _insert(sa.select(to.c.party, to.c.recorded, to.c.via, *what, _invited()))


def _follow() -> Statement:
    to = _reached()
    query = sa.select(to.c.party, to.c.recorded, to.c.via, *_WHAT, _invited())
    return _insert(query.where(_e.party == _RECORD, _e.record == _RECORD))


def _follow_via() -> Statement:
    """Copies what stands in a record's own timeline to its customer."""
    ways = [
        sa.select(party.label("party"), recorded, _r.id, *_WHAT, _e.invited)
        .join_from(timeline_records, timeline_entries, _e.party == _r.id)
        .where(_r.id == _RECORD, party.is_not(None))
        for party, recorded in _CUSTOMERS
    ]
    return _insert(sa.union(*ways))


def _changed(name: str) -> Any:
    return sa.bindparam(f"new_{name}", type_=_e[name].type)


_RIGHTS = ("owner", "team", "deleted")
_ENTER, _FOLLOW, _FOLLOW_VIA = _enter(), _follow(), _follow_via()
_LEAVE = compile_statement(
    sa.delete(timeline_entries).where(_e.guard == _RECORD, _e.party != _RECORD)
)
_INVITE = compile_statement(
    sa.update(timeline_entries).values(invited=_invited()).where(_e.guard == _RECORD)
)
_LEAVE_VIA = compile_statement(sa.delete(timeline_entries).where(_e.via == _RECORD))
_PUT_RIGHTS = compile_statement(
    sa.update(timeline_entries)
    .values({name: _changed(name) for name in _RIGHTS})
    .where(
        _e.guard == sa.any_(_IDS),
        sa.or_(*(_e[name].is_distinct_from(_changed(name)) for name in _RIGHTS)),
    )
)
_FORGET = compile_statement(
    sa.delete(timeline_entries).where(
        sa.or_(_e.guard == _RECORD, _e.party == _RECORD, _e.via == _RECORD)
    )
)


async def enter(call: Call, entry: Entry, named: Sequence[UUID]) -> None:
    """Puts an entry into the timelines of the records named and of whom these belong to; once."""
    what = {column.name: getattr(entry, column.name) for column in _WHAT}
    await call.tx.execute(_ENTER, {**what, "data": Jsonb(entry.data), "named": list(named)})


async def follow(call: Call, record: UUID, named: Sequence[UUID]) -> None:
    """Moves a record's entries to the timelines of what it is about now, with who is invited."""
    await call.tx.execute(_LEAVE, {"record": record})
    await call.tx.execute(_FOLLOW, {"record": record, "named": list(named)})
    await call.tx.execute(_INVITE, {"record": record})


async def follow_customer(call: Call, record: UUID) -> None:
    """Moves what concerns an opportunity or a ticket to the customer that it belongs to now."""
    await call.tx.execute(_LEAVE_VIA, {"record": record})
    await call.tx.execute(_FOLLOW_VIA, {"record": record})


async def put_rights(
    call: Call, guards: Sequence[UUID], owner: UUID | None, team: UUID | None, *, deleted: bool
) -> None:
    """Notes whose records are now; entries of deleted ones are not shown."""
    new = {"new_owner": owner, "new_team": team, "new_deleted": deleted}
    await call.tx.execute(_PUT_RIGHTS, {"ids": list(guards), **new})


async def forget(call: Call, id_: UUID) -> None:
    """Removes the entries of a record that is gone, and a timeline that nobody will ask for."""
    await call.tx.execute(_FORGET, {"record": id_})
