"""Reading timelines: pages of what the caller may see, and what the records are called."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import distinct_on

from crmkit.access import RecordScope, scope_condition, scope_parameters
from crmkit.call import Call
from crmkit.filters import FilterField, compile_filter
from crmkit.paging import Order
from crmkit.row_pages import page_of_rows
from crmkit.sharing import shared_records
from crmkit.statements import TEXT, Row, compile_statement
from customer.storage.account import accounts
from customer.storage.appointment import appointments
from customer.storage.contact import contacts
from customer.storage.interaction import interactions
from customer.storage.task import tasks
from customer.storage.timeline import timeline_entries
from customer.storage.timeline_record import timeline_records

# Collection → the service whose right to read its records shows their entries.
SERVICES = {
    "accounts": "customer",
    "contacts": "customer",
    "consents": "customer",
    "interactions": "customer",
    "appointments": "customer",
    "tasks": "customer",
    "opportunities": "sales",
    "tickets": "support",
}
_t = timeline_entries.c
_COLUMNS = (
    _t.id,
    _t.kind,
    _t.time,
    _t.effective_time,
    _t.source,
    _t.collection,
    _t.record,
    _t.actor,
    _t.data,
)
_ORDERS = [
    Order("effective_time", _t.effective_time, descending=True),
    Order("id", _t.id, descending=True),
]


@dataclass(frozen=True)
class Shown:
    """An entry as it is read; `title` and `related` are the record's now."""

    id: UUID
    kind: str
    time: datetime
    effective_time: datetime
    source: str
    record: str
    actor: str
    data: Mapping[str, str]
    title: str
    related: Sequence[str]


async def page(
    call: Call, party: UUID, request: Any, kinds: Sequence[str]
) -> tuple[list[Shown], str]:
    """A page of a party's timeline, the latest first, and the token of the next page.

    Args:
        call: The work at hand.
        party: Whose timeline.
        request: A List request with filter, page_size and page_token.
        kinds: What `kind` may be in the filter.

    Raises:
        InvalidArgument: `INVALID_FILTER`, `INVALID_PAGE_TOKEN`, or `INVALID_FIELD` on page_size.
    """
    fields = {
        "kind": FilterField(_t.kind, "enum", tuple(kinds)),
        "source": FilterField(_t.source, "text"),
        "effective_time": FilterField(_t.effective_time, "timestamp"),
        "time": FilterField(_t.time, "timestamp"),
    }
    condition = compile_filter(request.filter, fields, zone=call.organization.zone)
    query, parameters = _visible(call, party)
    if condition is not None:
        query = query.where(condition)
    bound_to = f"timeline {party} {request.filter}"
    rows, token = await page_of_rows(call, query, _ORDERS, request, bound_to, parameters=parameters)
    return await _shown(call, rows), token


async def last_touch(call: Call, party: UUID) -> Shown | None:
    """The last time that we met, as far as the caller may see."""
    query, parameters = _visible(call, party)
    query = query.where(_t.touch).order_by(*[o.clause() for o in _ORDERS]).limit(1)
    rows = await call.reader.fetch_all(compile_statement(query), parameters)
    return next(iter(await _shown(call, rows)), None)


def _visible(call: Call, party: UUID) -> tuple["sa.Select[Any]", Mapping[str, object]]:
    """A party's entries of records that the caller may read, and the parameters of that condition.

    What concerns them by several ways stands there several times, one behind the other.
    """
    query = sa.select(*_COLUMNS).ext(distinct_on(_t.effective_time, _t.id))
    query = query.where(_t.party == party, ~_t.deleted)
    reached = _reached_by(call)
    if reached.keys() == {RecordScope.ALL} and len(reached[RecordScope.ALL]) == len(SERVICES):
        return query, {}
    conditions: list[sa.ColumnElement[bool]] = [sa.false()]
    parameters: dict[str, object] = {}
    for scope, collections in reached.items():
        within = scope_condition(timeline_entries, scope)
        among = _among(collections)
        conditions.append(among if within is None else sa.and_(among, within))
        parameters |= scope_parameters(call.principal, scope)
    limited = {c for scope, of in reached.items() if scope < RecordScope.ALL for c in of}
    if own := sorted(c for c in limited if SERVICES[c] == "customer"):
        shared = sa.func.array(shared_records().scalar_subquery())
        conditions.append(sa.and_(_among(own), _t.guard == sa.any_(shared)))
    if "appointments" in limited:
        conditions.append(sa.literal(call.principal.user, sa.Uuid) == sa.any_(_t.invited))
    return query.where(sa.or_(*conditions)), parameters


def _among(collections: list[str]) -> sa.ColumnElement[bool]:
    return _t.collection == sa.any_(sa.literal(collections, sa.ARRAY(sa.Text)))


def _reached_by(call: Call) -> dict[RecordScope, list[str]]:
    grants, reached = call.principal.grants, dict[RecordScope, list[str]]()
    for collection, service in SERVICES.items():
        scope = grants.scope(f"{service}.{collection}.get")
        if collection == "consents":  # a person's ledger is read by whom the person may be read by
            scope = min(scope, grants.scope("customer.contacts.get"))
        if scope is not RecordScope.NONE:
            reached.setdefault(scope, []).append(collection)
    return reached


# -- what the records are called

_IDS = sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid))


def _called(table: sa.Table, title: str, *, related: bool) -> "sa.Select[Any]":
    about = table.c.related if related else sa.cast(sa.literal_column("'{}'"), sa.ARRAY(sa.Text))
    name = sa.type_coerce(table.c[title], TEXT)
    return sa.select(table.c.id, name.label("title"), about.label("related")).where(
        table.c.id == sa.any_(_IDS)
    )


_CALLED = compile_statement(
    sa.union_all(
        _called(accounts, "display_name", related=False),
        _called(contacts, "display_name", related=False),
        _called(interactions, "subject", related=True),
        _called(tasks, "title", related=True),
        _called(appointments, "title", related=True),
        _called(timeline_records, "title", related=False),
    )
)


async def _shown(call: Call, rows: Sequence[Row]) -> list[Shown]:
    ids = list({row[6] for row in rows})
    found = await call.reader.fetch_all(_CALLED, {"ids": ids}) if ids else []
    called = {id_: (title or "", related) for id_, title, related in found}
    return [
        Shown(
            id_,
            kind,
            time,
            effective,
            source,
            f"{collection}/{record}",
            actor,
            data,
            *called.get(record, ("", ())),
        )
        for id_, kind, time, effective, source, collection, record, actor, data in rows
    ]
