"""With whom other services' records are shared, as their events say: the kit's table, here a copy."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import insert

from crmkit import contract
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name, parse_names
from crmkit.schema import COLLABORATOR
from crmkit.sharing import is_shareable
from crmkit.statements import compile_statement

_put = insert(COLLABORATOR).values(
    {c.name: sa.bindparam(c.name, type_=c.type) for c in COLLABORATOR.c}
)
_PUT = compile_statement(
    _put.on_conflict_do_update(
        index_elements=["id"],
        set_={name: _put.excluded[name] for name in ("version", "access", "update_time")},
    )
)
_DELETE = compile_statement(
    sa.delete(COLLABORATOR).where(COLLABORATOR.c.id == sa.bindparam("id", type_=sa.Uuid))
)
_OF_RECORD = COLLABORATOR.c.record == sa.bindparam("record", type_=sa.Uuid)
_GRANTEES = compile_statement(sa.select(COLLABORATOR.c.grantee).where(_OF_RECORD))
_FORGET = compile_statement(sa.delete(COLLABORATOR).where(_OF_RECORD))


async def note_collaborator(call: Call, event: Event) -> None:
    """Keeps what an event `collaborator.created`, `updated` or `deleted` says."""
    given: Any = event.message.collaborator
    collection = given.name.partition("/")[0]
    record, id_ = parse_names(given.name, collection=f"{collection}/collaborators", field="name")
    if event.routing_key.endswith(".deleted"):
        await call.tx.execute(_DELETE, {"id": id_})
        return
    grantee, grantees = given.user or given.team, "users" if given.user else "teams"
    row = {
        "id": id_,
        "version": event.subject_version,
        "collection": collection,
        "record": record,
        "grantee_collection": grantees,
        "grantee": parse_name(grantee, collection=grantees, field="grantee"),
        "access": given.access,
        "creator": given.creator,
        "create_time": event.time,
        "update_time": event.time,
    }
    await call.tx.execute(_PUT, row)


async def note_sharing(call: Call, event: Event) -> Event:
    """The event, with those with whom its record is shared today."""
    record = _record(event.subject)
    if record is not None and not _begins(event):
        rows = await call.reader.fetch_all(_GRANTEES, {"record": record})
        event.shared_with = frozenset(row[0] for row in rows)
    return event


async def forget_collaborators(call: Call, record: UUID) -> None:
    """Removes with whom a record was shared that is no more."""
    await call.tx.execute(_FORGET, {"record": record})


def _begins(event: Event) -> bool:
    """True where nobody can have shared the record yet: it begins with this event."""
    return event.routing_key.endswith(".created") and event.subject.count("/") == 1


def _record(subject: str) -> UUID | None:
    """The record that a subject names, or names a part of; None where such records cannot be shared."""
    collection, _, rest = subject.partition("/")
    resource = contract.collections().get(collection)
    if resource is None or not is_shareable(resource):
        return None
    return UUID(rest.partition("/")[0])
