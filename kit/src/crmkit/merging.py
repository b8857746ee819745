"""References follow merges and their undoing: at once, and again for what was being written (decision 19).

What a reference shows is worked out from what was recorded and from which record lies in which:
repeated, late or in another order it comes to the same.
"""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

from crmkit import merges
from crmkit.call import Call
from crmkit.following import fields_that_follow
from crmkit.following_statements import Moved, follow_in_custom_fields
from crmkit.jobs import enqueue

JOB = "follow_merge"
# A write that began before a merge was known may end after it, with the old reference. After a minute every
# request has ended, by the second time also the longest piece of an import.
_AGAIN = (timedelta(minutes=1), timedelta(minutes=15))


async def follow(call: Call, collection: str, record: UUID) -> list[Moved]:
    """Makes this service's references show who stands for a record, and for all that lies in it.

    No event tells of it and no etag changes: nobody has changed those records. Answers how many there were.
    """

    async def find(name: str, ids: Iterable[UUID]) -> Mapping[UUID, UUID]:
        return await merges.survivors(call, name, ids, executor=call.tx)

    inside = await merges.family(call, collection, record, executor=call.tx)
    root = (await find(collection, [record])).get(record, record)
    moved = await follow_in_custom_fields(call, collection, inside, root)
    for other in call.home.collections.values():
        for field in fields_that_follow(other.codec):
            if collection in field.collections:
                count = await field.follow(call.tx, collection, inside, root, find)
                moved.append(Moved(other.name, field.name, count))
    own = call.home.collections.get(collection)
    if own is not None and own.also_follow is not None:
        await own.also_follow(call, inside, root)
    return [one for one in moved if one.count]


async def follow_for_good(call: Call, collection: str, record: UUID) -> list[Moved]:
    """As `follow`, and again later: for what is being written while nobody knows of the merge."""
    moved = await follow(call, collection, record)
    for pause in _AGAIN:
        arguments = {"collection": collection, "record": str(record)}
        await enqueue(call.tx, JOB, arguments, call.now + pause)
    return moved


async def follow_again(call: Call, arguments: Mapping[str, Any]) -> None:
    """The job."""
    await follow(call, arguments["collection"], UUID(arguments["record"]))
