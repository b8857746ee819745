"""What else is on a customer's page: their people, what these allow, and what is to come."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import sqlalchemy as sa
from psycopg.types.json import Jsonb
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from crmkit.access import RecordScope, scope_condition, scope_parameters
from crmkit.call import Call
from crmkit.sharing import shared_with_caller
from crmkit.statements import Statement, compile_statement
from customer.domain.recurrence import next_time
from customer.storage.appointment import APPOINTMENTS, appointments
from customer.storage.consent import CONSENTS, HIGHEST_FIRST, consents, reached_contacts
from customer.storage.contact import CONTACTS, contacts
from customer.storage.task import TASKS, tasks

_MOST_PEOPLE = 1000
_MOST_NAMES = 200  # of whom appointments and tasks are looked for
_MOST_SERIES = 100
_NAMES = sa.bindparam("names", type_=sa.ARRAY(sa.Text))


@dataclass(frozen=True)
class Person:
    """Somebody who belongs to an account."""

    id: UUID
    display_name: str
    job_title: str | None
    do_not_call: bool | None
    role: str | None
    primary: bool
    owner: UUID | None
    team: UUID | None


@dataclass(frozen=True)
class Plan:
    """What is to come; a task has no kind, and perhaps no time."""

    record: str
    title: str
    time: datetime | None
    kind: str | None = None


# -- people


@lru_cache(maxsize=8)
def _people(scope: RecordScope) -> Statement:
    account = sa.bindparam("account", type_=sa.Text)
    place = sa.func.jsonb_array_elements(contacts.c.accounts).table_valued(
        sa.column("value", JSONB), joins_implicitly=True
    )
    primary = contacts.c.account == sa.cast(account, sa.Uuid)
    query = sa.select(
        contacts.c.id, contacts.c.display_name, contacts.c.job_title, contacts.c.do_not_call,
        place.c.value["role"].astext, primary.label("is_primary"), contacts.c.owner, contacts.c.team,
    ).where(
        contacts.c.accounts.op("@>", is_comparison=True)(sa.bindparam("place", type_=JSONB)),
        place.c.value["account"].astext == account,
        contacts.c.delete_time.is_(None),
    )  # fmt: skip
    within = scope_condition(contacts, scope)
    if within is not None:
        query = query.where(sa.or_(within, shared_with_caller(contacts.c.id)))
    order: tuple[Any, ...] = sa.desc("is_primary").nulls_last(), contacts.c.sort_name, contacts.c.id
    return compile_statement(query.order_by(*order).limit(_MOST_PEOPLE))


async def people_of(call: Call, account: UUID) -> list[Person]:
    """Who belongs to an account now and may be read by the caller: first whose primary one it is."""
    scope = call.principal.grants.scope(CONTACTS.permission("get"))
    if scope is RecordScope.NONE:
        return []
    parameters: dict[str, Any] = {
        "account": str(account),
        "place": Jsonb([{"account": str(account), "active": True}]),
        **scope_parameters(call.principal, scope),
    }
    return [Person(*row) for row in await call.reader.fetch_all(_people(scope), parameters)]


# -- consents

_deciding = (
    sa.select(consents.c.channel, consents.c.purpose, consents.c.decision)
    .ext(distinct_on(consents.c.contact, consents.c.channel, consents.c.purpose))
    .where(consents.c.contact == sa.any_(sa.bindparam("contacts", type_=sa.ARRAY(sa.Uuid))))
    .order_by(consents.c.contact, consents.c.channel, consents.c.purpose, *HIGHEST_FIRST)
    .subquery("deciding")
)
_granted = _deciding.c.decision == "GRANTED"
_STATES = compile_statement(
    sa.select(
        _deciding.c.channel,
        _deciding.c.purpose,
        sa.func.count().filter(_granted),
        sa.func.count().filter(~_granted),
    )
    .group_by(_deciding.c.channel, _deciding.c.purpose)
    .order_by(_deciding.c.channel, _deciding.c.purpose)
    .limit(1000)
)


async def consent_states(
    call: Call, people: Sequence[tuple[UUID, UUID | None, UUID | None]]
) -> list[tuple[str, str, int, int]]:
    """Channel, purpose, how many of some people (id, owner, team) allow it and how many do not."""
    permission = CONSENTS.permission("get")
    if not people or call.principal.grants.scope(permission) is RecordScope.NONE:
        return []
    reached = await reached_contacts(call, permission, people)
    rows = await call.reader.fetch_all(_STATES, {"contacts": list(reached)})
    return [(row[0], row[1], row[2], row[3]) for row in rows]


# -- what is to come


async def next_appointment(call: Call, names: Sequence[str]) -> Plan | None:
    """The appointment that comes next of those about, or with, the records of these names."""
    scope = call.principal.grants.scope(APPOINTMENTS.permission("get"))
    if scope is RecordScope.NONE:
        return None
    a = appointments.c
    conditions, parameters = APPOINTMENTS.listing.matching(call, scope, "")
    query = (
        sa.select(
            a.id, a.title, a.kind, a.start_time, a.recurrence, a.series_start_time, a.time_zone
        )
        .where(
            *conditions,
            a.state == sa.literal_column("'PLANNED'"),
            sa.or_(_any_of(a.related), _any_of(a.participants)),
            sa.or_(a.start_time >= call.now, a.recurrence.is_not(None)),
        )
        .order_by(a.start_time, a.id)
        .limit(_MOST_SERIES)
    )
    given = {**parameters, "names": list(names[:_MOST_NAMES])}
    plans = []
    for id_, title, kind, start, rule, series_start, zone in await call.reader.fetch_all(
        compile_statement(query), given
    ):
        time = start
        if start < call.now:  # of a series: what it comes to next
            time = next_time(rule, series_start or start, ZoneInfo(zone or "UTC"), call.now)
        if time is not None:
            plans.append((time, id_, title, kind))
    if not plans:
        return None
    time, id_, title, kind = min(plans)
    return Plan(APPOINTMENTS.codec.name_of(id_), title, time, kind)


async def next_task(call: Call, names: Sequence[str]) -> Plan | None:
    """The unfinished task about the records of these names that is due first."""
    scope = call.principal.grants.scope(TASKS.permission("get"))
    if scope is RecordScope.NONE:
        return None
    conditions, parameters = TASKS.listing.matching(call, scope, "")
    unfinished: Any = sa.literal_column("state IN ('OPEN', 'IN_PROGRESS')")
    query = (
        sa.select(tasks.c.id, tasks.c.title, tasks.c.due_time)
        .where(*conditions, unfinished, _any_of(tasks.c.related))
        .order_by(tasks.c.due_time.asc().nulls_last(), tasks.c.id)
        .limit(1)
    )
    given = {**parameters, "names": list(names[:_MOST_NAMES])}
    row = await call.reader.fetch_one(compile_statement(query), given)
    return Plan(TASKS.codec.name_of(row[0]), row[1], row[2]) if row is not None else None


def _any_of(column: sa.Column[Any]) -> sa.ColumnElement[bool]:
    return column.op("&&", is_comparison=True)(_NAMES)
