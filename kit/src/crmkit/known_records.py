"""What a service keeps of other services' records that its own refer to, from their feeds (decision 11)."""

from collections.abc import Awaitable, Callable, Iterable
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from crmkit import contract, merging
from crmkit.call import Call
from crmkit.feed.events import Event
from crmkit.names import parse_name
from crmkit.schema import KNOWN_RECORD
from crmkit.statements import compile_statement, upsert

_PUT = upsert(KNOWN_RECORD, ["owner", "team", "deleted", "merged_into"])
_FORGET = compile_statement(
    sa.delete(KNOWN_RECORD).where(
        KNOWN_RECORD.c.collection == sa.bindparam("collection"),
        KNOWN_RECORD.c.id == sa.bindparam("id", type_=sa.Uuid),
    )
)


async def _record_changed(event: Event, call: Call) -> None:
    declared = contract.events()[event.routing_key]
    record = getattr(event.message, declared.subject_field)
    collection = record.name.split("/")[0]
    id_ = parse_name(record.name, collection=collection, field="name")
    if event.routing_key.endswith(".purged"):
        await call.tx.execute(_FORGET, {"collection": collection, "id": id_})
        return
    await call.tx.execute(
        _PUT,
        {
            "collection": collection,
            "id": id_,
            "owner": event.owner,
            "team": event.team,
            "deleted": record.HasField("delete_time"),
            "merged_into": _merged_into(record),
        },
    )
    if event.routing_key.endswith((".merged", ".unmerged")):
        await merging.follow_for_good(call, collection, id_)


def _merged_into(record: Any) -> UUID | None:
    """The record into which one was merged; None where it was not, or cannot be."""
    name: str = getattr(record, "merged_into", "")
    return (
        parse_name(name, collection=name.split("/", maxsplit=1)[0], field="name") if name else None
    )


def handlers(collections: Iterable[str]) -> dict[str, Callable[[Event, Call], Awaitable[None]]]:
    """The event handlers that keep these collections of other services known."""
    known = contract.collections()
    return {f"{known[c].service}.{known[c].singular}.*": _record_changed for c in collections}
