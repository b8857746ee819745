"""LookupService: finds this service's records by what people call them, for other services' imports."""

from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

from crm.common.v1 import lookup_pb2
from crmkit.call import Call
from crmkit.collection import Collection
from crmkit.errors import InvalidArgument
from crmkit.names import parse_name


async def look_up(
    call: Call, collection: Collection[Any], field: str, values: Sequence[str]
) -> list[tuple[str, UUID]]:
    """Pairs of (value, id) for records whose text field, or `name`, has one of the values."""
    permission = collection.permission("get")
    if field != "name":
        scope = collection.scope(call, permission)
        return await collection.listing.look_up(call, scope, field, values)
    ids = [parse_name(name, collection=collection.name, field="values") for name in values]
    found = await collection.get_many(call, ids, permission=permission)
    return [(collection.codec.name_of(e.id), e.id) for e in found if e.delete_time is None]


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
