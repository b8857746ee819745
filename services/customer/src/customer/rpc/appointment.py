"""What happens to appointments besides being written, and when people are busy."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from crm.customer.v1 import appointment_pb2
from crmkit.call import Call
from crmkit.errors import PermissionDenied
from crmkit.field_values import value_of
from crmkit.names import parse_name
from customer.domain.appointment import Appointment
from customer.domain.busy import Span, busy_spans, checked_window
from customer.storage.appointment import APPOINTMENTS, appointments_of
from customer.usecases.hold_appointment import hold_appointment, plan_next

_Reply = appointment_pb2.Appointment.Attendee.Reply
_HOLD = appointment_pb2.HoldAppointmentRequest.DESCRIPTOR
_FIELDS = appointment_pb2.QueryFreeBusyRequest.DESCRIPTOR.fields_by_name
_TIMES = {n: value_of(_FIELDS[n], datetime, n).from_wire for n in ("start_time", "end_time")}

_BODY = value_of(_HOLD.fields_by_name["body"], str, "body").from_wire


class AppointmentService:
    """What becomes of appointments; the standard methods come from the kit."""

    async def HoldAppointment(
        self, request: appointment_pb2.HoldAppointmentRequest, call: Call
    ) -> appointment_pb2.Appointment:
        """It took place, and is recorded."""
        body = _BODY(request.body) or None
        return _message(await hold_appointment(call, request, body))

    async def MissAppointment(
        self, request: appointment_pb2.MissAppointmentRequest, call: Call
    ) -> appointment_pb2.Appointment:
        """Somebody did not come."""
        async with APPOINTMENTS.changing(call, request) as appointment:
            appointment.miss(call.now, call.principal.user)
            await plan_next(call, appointment)
        return _message(appointment)

    async def CancelAppointment(
        self, request: appointment_pb2.CancelAppointmentRequest, call: Call
    ) -> appointment_pb2.Appointment:
        """It is called off."""
        async with APPOINTMENTS.changing(call, request) as appointment:
            appointment.cancel(call.now, call.principal.user)
        return _message(appointment)

    async def ReopenAppointment(
        self, request: appointment_pb2.ReopenAppointmentRequest, call: Call
    ) -> appointment_pb2.Appointment:
        """It is planned again."""
        async with APPOINTMENTS.changing(call, request) as appointment:
            appointment.reopen()
        return _message(appointment)

    async def ReplyToAppointment(
        self, request: appointment_pb2.ReplyToAppointmentRequest, call: Call
    ) -> appointment_pb2.Appointment:
        """The caller, or somebody for whom they answer, will come or not."""
        appointment = await APPOINTMENTS.for_answer(call, request.name, request.etag)
        attendee = request.attendee or call.principal.name
        for_another = attendee != call.principal.name
        if for_another and not await APPOINTMENTS.may_change(call, appointment):
            msg = "You may answer for yourself only."
            raise PermissionDenied(msg, reason="NOT_YOURSELF")
        appointment.reply(attendee, _Reply.Name(request.reply))
        return _message(await APPOINTMENTS.save(call, appointment))

    async def QueryFreeBusy(
        self, request: appointment_pb2.QueryFreeBusyRequest, call: Call
    ) -> appointment_pb2.QueryFreeBusyResponse:
        """Times only, of whomever the appointments are."""
        users = [parse_name(name, collection="users", field="users") for name in request.users]
        times = [read(getattr(request, name)) for name, read in _TIMES.items()]
        window = checked_window(*times)
        found = await appointments_of(call, users, window)
        busy = _busy_times(found, list(dict.fromkeys(users)), window)
        return appointment_pb2.QueryFreeBusyResponse(busy_times=busy)

    async def CheckConflicts(
        self, request: appointment_pb2.CheckConflictsRequest, call: Call
    ) -> appointment_pb2.CheckConflictsResponse:
        """What its users have at the same time."""
        appointment = await APPOINTMENTS.get(call, request.name)
        users, window = appointment.busy_users(), Span(appointment.start_time, appointment.end_time)
        found = await appointments_of(call, users, window)
        others = [other for other in found if other.id != appointment.id]
        busy = _busy_times(others, users, window)
        return appointment_pb2.CheckConflictsResponse(busy_times=busy)


def _busy_times(
    found: Sequence[Appointment], users: Sequence[UUID], window: Span
) -> list[appointment_pb2.BusyTime]:
    times = []
    for user in users:
        for span in busy_spans(found, user, window):
            time = appointment_pb2.BusyTime(user=f"users/{user}")
            time.start_time.FromDatetime(span.start)
            time.end_time.FromDatetime(span.end)
            times.append(time)
    return times


def _message(appointment: Appointment) -> appointment_pb2.Appointment:
    message: appointment_pb2.Appointment = APPOINTMENTS.message(appointment)
    return message
