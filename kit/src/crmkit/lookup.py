"""LookupService: finds this service's records by what people call them, for other services' imports."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from crm.common.v1 import lookup_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import InvalidArgument
from crmkit.merges import can_be_merged, survivors
from crmkit.names import parse_name


async def look_up(
    call: Call, collection: Collection[Any], field: str, values: Sequence[str]
) -> list[tuple[str, UUID]]:
    """Pairs of (value, id) for records whose text field, or `name`, has one of the values."""
    permission = collection.permission("get")
    if field != "name":
        scope = collection.scope(call, permission)
        found = await collection.listing.look_up(call, scope, field, values)
        left = set(values) - {value for value, _ in found}
        if not left or not can_be_merged(collection.name):
            return found
        old = await collection.listing.look_up(call, scope, field, list(left), merged=True)
        return found + await _survivors(call, collection, old)
    ids = [parse_name(name, collection=collection.name, field="values") for name in values]
    return await _survivors(call, collection, [(collection.codec.name_of(i), i) for i in ids])


async def _survivors(
    call: Call, collection: Collection[Any], pairs: Sequence[tuple[str, UUID]]
) -> list[tuple[str, UUID]]:
    """The same values with who stands for the records, where that is there and within reach."""
    ids = [id_ for _, id_ in pairs]
    roots = await survivors(call, collection.name, ids)
    found = await collection.get_many(call, ids, permission=collection.permission("get"))
    there = {entity.id for entity in found if entity.delete_time is None}
    shown = [(value, roots.get(id_, id_)) for value, id_ in pairs]
    return [pair for pair in shown if pair[1] in there]


class LookupService:
    """Answers for the collections of one service, within the acting person's record scope."""

    def __init__(self, collections: Mapping[str, Collection[Any]]) -> None:
        self._collections = collections

    async def LookUpRecords(  # noqa: N802 - the contract's name
        self, request: lookup_pb2.LookUpRecordsRequest, call: Call
    ) -> lookup_pb2.LookUpRecordsResponse:
        """Finds records by the values of one text field."""
        collection = self._collections.get(request.collection)
        if collection is None:
            msg = f"There is no collection {request.collection} here."
            raise InvalidArgument(msg, field="collection")
        found = await look_up(call, collection, request.field, list(request.values))
        matches = [
            lookup_pb2.LookUpRecordsResponse.Match(value=value, name=f"{collection.name}/{id_}")
            for value, id_ in found
        ]
        return lookup_pb2.LookUpRecordsResponse(matches=matches)
