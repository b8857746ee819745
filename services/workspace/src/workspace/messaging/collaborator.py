"""Other services' records that are shared: who may read their events, and who is told."""

from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from workspace.messaging.comment import actor_of
from workspace.queries.visibility import may_read_record
from workspace.storage.collaborator import note_collaborator, note_sharing
from workspace.usecases.notify import notify


async def hear_of_collaborator(event: Event, call: Call) -> None:
    """Keeps with whom a record is shared, and tells a user with whom somebody else shares it."""
    await note_collaborator(call, event)
    name = event.message.collaborator.user
    if not event.routing_key.endswith(".created") or name in {"", event.actor} or event.imported:
        return
    user = parse_name(name, collection="users", field="user")
    await note_sharing(call, event)
    if may_read_record(call.home.rights, user, event):
        record = event.message.parent
        await notify(call, user, "SHARED", subject=record, actor=actor_of(event))
