"""What somebody did, for themselves and for whoever leads them."""

from datetime import date
from uuid import UUID

from crm.customer.v1 import work_log_pb2
from crmkit.call import Call
from crmkit.children.parents import reaches
from crmkit.errors import InvalidArgument, NotFound, PermissionDenied
from crmkit.field_values import value_of
from crmkit.names import parse_name
from customer.domain.work_log import period_of
from customer.storage.work_log import Entry, counts_of, entries_of

_Period = work_log_pb2.QueryWorkLogRequest.Period
_Kind = work_log_pb2.WorkLogEntry.Kind
_FIELDS = work_log_pb2.QueryWorkLogRequest.DESCRIPTOR.fields_by_name
_DATE = value_of(_FIELDS["date"], date, "date").from_wire


class WorkLogService:
    """The one method."""

    async def QueryWorkLog(
        self, request: work_log_pb2.QueryWorkLogRequest, call: Call
    ) -> work_log_pb2.QueryWorkLogResponse:
        """A day or a week, a page at a time."""
        user, settings = _user(request, call), call.organization
        today = call.now.astimezone(settings.zone).date()
        day = _DATE(request.date) if request.HasField("date") else today
        period = _Period.Name(request.period or _Period.DAY)
        start, end = period_of(day, period, settings.zone, settings.first_day_of_week)
        entries, token = await entries_of(call, user, start, end, request)
        counts = await counts_of(call, user, start, end)
        answer = work_log_pb2.QueryWorkLogResponse(
            entries=[_message(entry) for entry in entries],
            next_page_token=token,
            task_count=counts["TASK_COMPLETED"],
            interaction_count=counts["INTERACTION"],
            appointment_count=counts["APPOINTMENT_HELD"],
        )
        answer.start_time.FromDatetime(start)
        answer.end_time.FromDatetime(end)
        return answer


def _user(request: work_log_pb2.QueryWorkLogRequest, call: Call) -> UUID:
    """Whose log it is; raises a Failure where the caller does not see it, or there is nobody."""
    if not request.user:
        if call.principal.user is None:
            msg = "A service says whose work log it asks for."
            raise InvalidArgument(msg, field="user")
        return call.principal.user
    user = parse_name(request.user, collection="users", field="user")
    if not reaches(call, user):
        msg = "You see the work of those only whom your role reaches."
        raise PermissionDenied(msg, reason="NOT_YOURSELF")
    if user not in call.home.rights.users:
        msg = f"There is no {request.user}."
        raise NotFound(msg, metadata={"resource": request.user})
    return user


def _message(entry: Entry) -> work_log_pb2.WorkLogEntry:
    message = work_log_pb2.WorkLogEntry(
        kind=_Kind.Value(entry.kind),
        record=entry.record,
        title=entry.title,
        duration_minutes=entry.duration_minutes,
    )
    message.time.FromDatetime(entry.time)
    return message
