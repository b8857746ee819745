"""Somebody says that they, or another, are away."""

from uuid import UUID

from crm.identity.v1 import user_pb2
from crmkit.call import Call
from crmkit.errors import InvalidArgument, NotFound
from crmkit.etags import check_etag
from crmkit.names import parse_name
from identity.domain.absence import LONGEST_CHAIN, Absence, check_chain, check_times
from identity.domain.user import User
from identity.storage.user import USERS, own_record_changing, user_by_id


async def set_absence(call: Call, request: user_pb2.SetAbsenceRequest) -> User:
    """Notes when somebody is away, after a look at who would stand in."""
    user = _whom(call, request.name)
    absence = _read(call, request)
    check_times(absence, call.now)
    async with own_record_changing(call, user) as stored:
        check_etag(request.name, request.etag, stored.version)
        stored.be_away(absence)
        if absence.deputy is not None:
            check_chain(user, await _chain(call, absence))
    return stored


async def clear_absence(call: Call, request: user_pb2.ClearAbsenceRequest) -> User:
    """Notes that somebody is not away."""
    async with own_record_changing(call, _whom(call, request.name)) as stored:
        check_etag(request.name, request.etag, stored.version)
        stored.be_back()
    return stored


def _read(call: Call, request: user_pb2.SetAbsenceRequest) -> Absence:
    said = user_pb2.User(absence=request.absence)
    if not said.absence.HasField("start_time"):
        said.absence.start_time.FromDatetime(call.now)
    try:
        absence: Absence = USERS.codec.fields["absence"].read(said)
    except InvalidArgument as error:  # its paths are those of a user
        field = error.violations[0].field.removeprefix("user.")
        message = error.message.removeprefix("user.")
        raise InvalidArgument(message, reason=error.reason, field=field) from None
    return absence


def _whom(call: Call, name: str) -> UUID:
    """Oneself, or with the right to change users anybody."""
    user = parse_name(name, collection="users", field="name")
    by = call.principal
    if user != by.user or by.limits is not None:
        by.require("identity.users.update")
    return user


async def _chain(call: Call, absence: Absence) -> list[User]:
    """The deputy, and while one is away too, theirs; raises NotFound."""
    chain: list[User] = []
    deputy = absence.deputy
    while deputy is not None and len(chain) <= LONGEST_CHAIN:
        found = await user_by_id(call.tx, deputy)
        if found is None:
            msg = f"absence.deputy refers to users/{deputy}, which does not exist."
            raise NotFound(msg, reason="REFERENCE_NOT_FOUND", field="absence.deputy")
        chain.append(found)
        away = found.absence is not None and found.absence.overlaps(absence)
        deputy = found.absence.deputy if found.absence is not None and away else None
    return chain
