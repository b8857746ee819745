"""The job before an appointment: says that it begins soon."""

from datetime import datetime
from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.errors import NotFound
from customer.storage.appointment import APPOINTMENTS, still_wanted


async def remind_of_appointment(call: Call, arguments: dict[str, Any]) -> None:
    """Publishes `appointment.reminded`, unless it was moved, held or cancelled."""
    start_time = datetime.fromisoformat(arguments["start_time"])
    try:
        id_ = UUID(arguments["appointment"])
        appointment = await APPOINTMENTS.for_change(call, id_, deleted=True)
    except NotFound:  # purged, or never stored: the row of an import that was refused
        return
    if still_wanted(appointment, arguments["minutes"], start_time):
        appointment.record("reminded")
        await APPOINTMENTS.save(call, appointment)
