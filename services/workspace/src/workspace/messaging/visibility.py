"""Who may read an event: the same answer as the producing service's EventService gives."""

from collections.abc import Sequence
from uuid import UUID

from crmkit import contract
from crmkit.access import RecordScope
from crmkit.errors import Failure
from crmkit.feed.events import Event
from crmkit.rights import Rights


def may_read(
    rights: Rights, user: UUID | None, event: Event, limits: Sequence[str] | None = None
) -> bool:
    """True if a user may read the events of the service, and this one's record, with today's rights.

    Args:
        rights: The rights of everyone.
        user: Who.
        event: What they would read.
        limits: What the credential was limited to with which they asked for it; None: nothing.
    """
    resource = contract.collections().get(event.subject.split("/", 1)[0])
    if user is None or resource is None or resource.service != event.source:
        return False
    try:
        principal = rights.principal(user).limited_to(limits)
    except Failure:  # unknown here, or may not sign in any more
        return False
    if principal.grants.scope(f"{event.source}.events.list") is RecordScope.NONE:
        return False
    scope = principal.grants.scope(f"{resource.service}.{resource.collection}.get")
    if scope is RecordScope.NONE or resource.shared:
        return scope is not RecordScope.NONE
    return principal.covers(scope, event.owner, event.team)
