"""Who may read an event, and what of it: the same answer as the producing service's EventService gives."""

from collections.abc import Sequence
from uuid import UUID

from crmkit import contract
from crmkit.access import ANONYMOUS, Principal, RecordScope
from crmkit.errors import Failure
from crmkit.feed.events import Event
from crmkit.rights import Rights
from crmkit.sensitive import concealed
from workspace.queries.event_types import matching, subject_of


def readable(
    rights: Rights, user: UUID | None, event: Event, limits: Sequence[str] | None = None
) -> Event | None:
    """An event as a user may read it with today's rights, without what is hidden from them; None if not.

    Args:
        rights: The rights of everyone.
        user: Who.
        event: What they would read.
        limits: What the credential was limited to with which they asked for it; None: nothing.
    """
    if user is None:
        return None
    try:
        principal = rights.principal(user).limited_to(limits)
    except Failure:  # unknown here, or may not sign in any more
        return None
    return event.shown(concealed(principal, event.message)) if _may_read(principal, event) else None


def _may_read(principal: Principal, event: Event) -> bool:
    """True if somebody may read the events of the service, and this one's record."""
    resource = contract.collections().get(event.subject.split("/", 1)[0])
    if resource is None or resource.service != event.source:
        return False
    if principal.grants.scope(f"{event.source}.events.list") is RecordScope.NONE:
        return False
    scope = principal.grants.scope(f"{resource.service}.{resource.collection}.get")
    if scope is RecordScope.NONE or resource.shared:
        return scope is not RecordScope.NONE
    return _reaches(principal, scope, event)


def _reaches(principal: Principal, scope: RecordScope, event: Event) -> bool:
    if principal.covers(scope, event.owner, event.team):
        return True
    return not event.shared_with.isdisjoint(principal.grantees)


def shown_also_to(rights: Rights, user: UUID | None, event: Event) -> Event:
    """What somebody else, too, may see of an event that somebody was shown."""
    try:
        principal = rights.principal(user) if user is not None else ANONYMOUS
    except Failure:
        principal = ANONYMOUS
    return event.shown(concealed(principal, event.message))


def may_read_record(rights: Rights, user: UUID, event: Event) -> bool:
    """True if a user may read the record that the event is about, as it was then, with today's rights."""
    resource = contract.collections().get(event.subject.split("/", 1)[0])
    try:
        principal = rights.principal(user)
    except Failure:  # unknown here, or may not sign in any more
        return False
    if resource is None:
        return False
    scope = principal.grants.scope(f"{resource.service}.{resource.collection}.get")
    if resource.shared:
        return scope is not RecordScope.NONE
    return scope is not RecordScope.NONE and _reaches(principal, scope, event)


def may_read_some(principal: Principal, patterns: Sequence[str]) -> bool:
    """True if someone may read at least one of these types of events, of some records."""
    events = (event for pattern in patterns for event in matching(pattern))
    return any(
        principal.grants.scope(f"{event.service}.events.list")
        and principal.grants.scope(f"{event.service}.{subject_of(event).collection}.get")
        for event in events
    )
