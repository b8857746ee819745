"""Handing over what belongs to a user, in the transaction of what is the reason for it."""

from dataclasses import replace
from uuid import UUID

from crmkit.call import Call
from crmkit.errors import Failure
from crmkit.names import parse_name
from identity.storage.handover import HANDOVERS


async def hand_over(call: Call, user: UUID, successor: str) -> None:
    """Begins a hand-over to the user that a request names as `successor`.

    Raises:
        PermissionDenied: The caller may not begin hand-overs.
        NotFound: There is no such user.
        InvalidArgument: `SUCCESSOR_IS_USER`.
        FailedPrecondition: `SUCCESSOR_NOT_ACTIVE`.
    """
    call.principal.require(HANDOVERS.permission("create"))
    values = {
        "user": user,
        "successor": parse_name(successor, collection="users", field="successor"),
    }
    try:
        await HANDOVERS.insert(call, HANDOVERS.new(call, values))
    except Failure as failure:
        named = [replace(v, field=v.field.removeprefix("handover.")) for v in failure.violations]
        failure.violations = tuple(named)
        raise
