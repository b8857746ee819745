"""Who follows other services' records, as their events say: the kit's table, here a copy."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit.call import Call
from crmkit.children.tables import FOLLOWER
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.statements import compile_statement

_put = insert(FOLLOWER).values({c.name: sa.bindparam(c.name, type_=c.type) for c in FOLLOWER.c})
_PUT = compile_statement(
    _put.on_conflict_do_update(
        index_elements=["record", "user"],
        set_={name: _put.excluded[name] for name in ("version", "following", "create_time")},
    )
)
_RECORD = sa.bindparam("record", type_=sa.Uuid)
_OF_RECORD = compile_statement(
    sa.select(FOLLOWER.c.user, FOLLOWER.c.following).where(FOLLOWER.c.record == _RECORD)
)
_FORGET = compile_statement(sa.delete(FOLLOWER).where(FOLLOWER.c.record == _RECORD))


async def note_follower(call: Call, event: Event, *, following: bool) -> None:
    """Keeps what was decided for a user about a record: `follower.added`, `follower.removed`."""
    message = event.message
    collection = message.parent.partition("/")[0]
    row = {
        "record": parse_name(message.parent, collection=collection, field="parent"),
        "user": parse_name(message.user, collection="users", field="user"),
        "version": event.subject_version,
        "collection": collection,
        "following": following,
        "create_time": event.time,
    }
    await call.tx.execute(_PUT, row)


async def followers_of(call: Call, record: UUID, owner: UUID | None) -> list[UUID]:
    """The users who follow a record, in one order; its owner too where nothing was decided for them."""
    rows = await call.tx.fetch_all(_OF_RECORD, {"record": record})
    decided = {user: bool(following) for user, following in rows}
    if owner is not None:
        decided.setdefault(owner, True)
    return sorted(user for user, following in decided.items() if following)


async def forget_followers(call: Call, record: UUID) -> None:
    """Removes what was decided about a record that is no more."""
    await call.tx.execute(_FORGET, {"record": record})
