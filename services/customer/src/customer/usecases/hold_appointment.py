"""Holding an appointment: it becomes an interaction, and the next of its series is planned, at once."""

from crm.customer.v1 import appointment_pb2
from crmkit.call import Call
from crmkit.ids import uuid7
from customer.domain.appointment import Appointment
from customer.storage.appointment import APPOINTMENTS
from customer.storage.interaction import INTERACTIONS
from customer.storage.series import follow


async def hold_appointment(
    call: Call, request: appointment_pb2.HoldAppointmentRequest, body: str | None
) -> Appointment:
    """Says that it took place; its lock sees to it that one interaction is recorded, not two."""
    by = call.principal.user
    async with APPOINTMENTS.changing(call, request) as appointment:
        interaction = appointment.hold(uuid7(), call.now, by, body)
        await follow(call, INTERACTIONS, interaction)
        await plan_next(call, appointment)
    return appointment


async def plan_next(call: Call, appointment: Appointment) -> None:
    """Makes the appointment that follows in the series, if there is one and it is not there yet."""
    following = appointment.following(uuid7, call.now, call.principal.user)
    if following is not None:
        await follow(call, APPOINTMENTS, following)
