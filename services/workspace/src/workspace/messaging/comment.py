"""Comments on other services' records: whom they mention and who follows the record is told."""

from typing import Any
from uuid import UUID

from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from workspace.queries.visibility import may_read_record
from workspace.storage.collaborator import forget_collaborators
from workspace.storage.follower import followers_of, forget_followers, note_follower
from workspace.usecases.notify import notify


async def hear_of_comment(event: Event, call: Call) -> None:
    """Tells whom a comment mentions, then who follows its record: each once, nobody of their own doing.

    A comment that was reworded is news to those only whom it did not mention before.
    """
    message: Any = event.message
    past = event.routing_key.rpartition(".")[2]
    if past == "deleted" or event.imported:
        return
    names = message.comment.mentions if past == "created" else message.newly_mentioned
    mentioned = [parse_name(name, collection="users", field="mentions") for name in names]
    told = {user for user in mentioned if await _tell(call, user, "MENTIONED", event)}
    if past == "created":
        record = _record(message.parent)
        for user in await followers_of(call, record, event.owner):
            if user not in told:
                await _tell(call, user, "COMMENTED", event)


async def _tell(call: Call, user: UUID, kind: str, event: Event) -> bool:
    if event.actor == f"users/{user}" or not may_read_record(call.home.rights, user, event):
        return False
    name = await notify(call, user, kind, event=event, subject=event.subject, actor=actor_of(event))
    return name is not None and name.startswith("notifications/")  # else by mail alone


async def hear_of_follower(event: Event, call: Call) -> None:
    """Keeps who follows which record."""
    following = event.routing_key.endswith(".added")
    await note_follower(call, event, following=following)


async def hear_of_purge(event: Event, call: Call) -> None:
    """Forgets who followed a record that is no more, and with whom it was shared."""
    record = _record(event.subject)
    await forget_followers(call, record)
    await forget_collaborators(call, record)


def _record(name: str) -> UUID:
    return parse_name(name, collection=name.partition("/")[0], field="name")


def actor_of(event: Event) -> UUID | None:
    """The person who did it; None for a service."""
    if not event.actor.startswith("users/"):
        return None
    return parse_name(event.actor, collection="users", field="actor")
