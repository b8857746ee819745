"""Where appointments are kept, who sees them, and the jobs that remind of them."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from crm.customer.v1 import appointment_pb2
from crmkit.access import EVERYTHING, Principal, RecordScope, scope_condition, scope_parameters
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import NotFound
from crmkit.following import recorded_index
from crmkit.ids import uuid5_of
from crmkit.jobs import enqueue
from crmkit.listing import Listing
from crmkit.sharing import Found, shared_with_caller
from crmkit.statements import TEXT, TIMESTAMP, compile_statement, record_table
from customer.domain.appointment import Appointment
from customer.domain.busy import Span
from customer.storage.schema import CUSTOMER

REMINDER = "appointment_reminder"  # the kind of the jobs

appointments = record_table(
    "appointments",
    CUSTOMER,
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("title", TEXT, nullable=False),
    sa.Column("description", TEXT),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("start_time", TIMESTAMP, nullable=False),
    sa.Column("end_time", TIMESTAMP, nullable=False),
    sa.Column("time_zone", TEXT),
    sa.Column("recurrence", TEXT),
    sa.Column("place", TEXT),
    sa.Column("attendees", JSONB, nullable=False),
    sa.Column("attendees_as_recorded", JSONB),
    sa.Column("participants", sa.ARRAY(TEXT), nullable=False),
    sa.Column("participants_as_recorded", sa.ARRAY(TEXT)),
    sa.Column("related", sa.ARRAY(TEXT), nullable=False),
    sa.Column("related_as_recorded", sa.ARRAY(TEXT)),
    sa.Column("reminder_minutes", sa.ARRAY(sa.Integer), nullable=False),
    sa.Column("series_start_time", TIMESTAMP),
    sa.Column("next_appointment", sa.Uuid),
    sa.Column("interaction", sa.Uuid),
    sa.Column("close_time", TIMESTAMP),
    sa.Column("closer", sa.Uuid),
    sa.Index("ix_appointments_start_time", "start_time", "id"),
    sa.Index("ix_appointments_owner_start_time", "owner", "start_time", "id"),
    sa.Index(
        "ix_appointments_attendees",
        "attendees",
        postgresql_using="gin",
        postgresql_ops={"attendees": "jsonb_path_ops"},
    ),
    *recorded_index("appointments", "attendees", "jsonb_path_ops"),
    sa.Index("ix_appointments_participants", "participants", postgresql_using="gin"),
    *recorded_index("appointments", "participants", "array_ops"),
    sa.Index("ix_appointments_related", "related", postgresql_using="gin"),
    *recorded_index("appointments", "related", "array_ops"),
    sa.Index(
        "ix_appointments_related_planned",
        "related",
        postgresql_using="gin",
        postgresql_where=sa.text("state = 'PLANNED'"),
    ),
    sa.Index(
        "ix_appointments_participants_planned",
        "participants",
        postgresql_using="gin",
        postgresql_where=sa.text("state = 'PLANNED'"),
    ),
    sa.Index(
        "ix_appointments_interaction",
        "interaction",
        postgresql_where=sa.text("interaction IS NOT NULL"),
    ),
)


# -- who sees them: whoever may by record scope, and whoever is invited


def _unlimited(call: Call) -> Call:
    return replace(call, principal=replace(call.principal, grants=EVERYTHING))


def _seen(table: sa.FromClause, scope: RecordScope) -> sa.ColumnElement[bool] | None:
    condition = scope_condition(table, scope)
    if condition is None:
        return None
    names = sa.bindparam("scope_names", type_=sa.ARRAY(sa.Text))
    invited = table.c.participants.op("@>", is_comparison=True)(names)
    return sa.or_(condition, shared_with_caller(table.c.id), invited)


def _parameters(principal: Principal, scope: RecordScope) -> Mapping[str, object]:
    if scope is RecordScope.ALL:
        return {}
    return {"scope_names": [principal.name], **scope_parameters(principal, scope)}


def _place(appointment: Appointment) -> Found:
    return appointment.id, appointment.owner, appointment.team


class Appointments(Collection[Appointment]):
    """The collection: whoever is invited reads an appointment, and answers."""

    async def get(
        self, call: Call, name: str | UUID, *, permission: str = "", field: str = "name"
    ) -> Appointment:
        """One appointment that the caller sees; raises NotFound."""
        try:
            return await super().get(call, name, permission=permission, field=field)
        except NotFound:
            found = await super().get(_unlimited(call), name, permission=permission, field=field)
            if call.principal.name not in found.participants:
                raise
            return found

    async def get_many(
        self, call: Call, ids: Sequence[UUID], *, permission: str = ""
    ) -> list[Appointment]:
        """The appointments of these ids that the caller sees."""
        found = await super().get_many(_unlimited(call), ids, permission=permission)
        places = [_place(appointment) for appointment in found]
        reached = await self.within_reach(call, permission or self._required(call), places)
        return [a for a in found if a.id in reached or call.principal.name in a.participants]

    async def for_answer(self, call: Call, name: str, etag: str) -> Appointment:
        """An appointment that the caller sees, locked for an answer to its invitation."""
        await self.get(call, name, permission=self.permission("get"))
        return await self.for_change(_unlimited(call), name, etag)

    async def may_change(self, call: Call, appointment: Appointment) -> bool:
        """Whether the caller may change it, not only answer."""
        permission = self.permission("update")
        if call.principal.grants.scope(permission) is RecordScope.NONE:
            return False
        return bool(await self.within_reach(call, permission, [_place(appointment)]))


# -- reminders


async def settle(call: Call, after: Appointment, before: Appointment | None) -> None:
    """A series has its beginning, and reminders are promised as jobs."""
    after.settle_series(before, call.organization.time_zone)
    if not after.to_come:
        return
    for minutes in after.reminder_minutes:
        time = after.start_time - timedelta(minutes=minutes)
        known = before is not None and before.to_come and before.start_time == after.start_time
        if time <= call.now or (known and before and minutes in before.reminder_minutes):
            continue
        start = after.start_time.isoformat()
        arguments = {"appointment": str(after.id), "minutes": minutes, "start_time": start}
        job_id = uuid5_of(after.id, f"{minutes} before {start}")
        await enqueue(call.tx, REMINDER, arguments, time, job_id)


def still_wanted(appointment: Appointment, minutes: int, start_time: datetime) -> bool:
    """Whether a reminder that was promised is still one."""
    return (
        appointment.to_come
        and appointment.start_time == start_time
        and minutes in appointment.reminder_minutes
    )


APPOINTMENTS = Appointments(
    appointment_pb2.Appointment, Appointment, appointments, natural_key="", rule=settle
)
APPOINTMENTS.listing = Listing(APPOINTMENTS.codec, scoped=_seen, parameters=_parameters)


# -- when people are busy

_BUSY = compile_statement(
    sa.select(*APPOINTMENTS.codec.columns).where(
        appointments.c.participants.op("&&", is_comparison=True)(
            sa.bindparam("names", type_=sa.ARRAY(sa.Text))
        ),
        sa.or_(appointments.c.state == "PLANNED", appointments.c.state == "HELD"),
        appointments.c.delete_time.is_(None),
        appointments.c.start_time < sa.bindparam("end", type_=TIMESTAMP),
        sa.or_(
            appointments.c.end_time > sa.bindparam("start", type_=TIMESTAMP),
            appointments.c.recurrence.is_not(None),
        ),
    )
)


async def appointments_of(call: Call, users: Sequence[UUID], window: Span) -> list[Appointment]:
    """Whatever users have in a time, whoever may see it."""
    names = [f"users/{user}" for user in users]
    parameters = {"names": names, "start": window.start, "end": window.end}
    rows = await call.reader.fetch_all(_BUSY, parameters)
    return [APPOINTMENTS.codec.from_row(row) for row in rows]
