"""PersonalDataService: what a service keeps of a person, for the service that owns contacts."""

from collections.abc import AsyncIterator

from crm.common.v1 import personal_data_pb2
from crmkit.call import Call
from crmkit.personal.reach import find
from crmkit.personal.read import read
from crmkit.personal.subject import Found, Subject

_AT_ONCE = 1000


class PersonalDataService:
    """Answers for the records of one service."""

    async def CountPersonalData(  # noqa: N802 - the contract's name
        self, request: personal_data_pb2.CountPersonalDataRequest, call: Call
    ) -> personal_data_pb2.CountPersonalDataResponse:
        """How many records there are, by collection."""
        found = await find(call.home, Subject.of(request.subject))
        return personal_data_pb2.CountPersonalDataResponse(counts=counts(found))

    async def ListPersonalRecords(  # noqa: N802
        self, request: personal_data_pb2.ListPersonalRecordsRequest, call: Call
    ) -> AsyncIterator[personal_data_pb2.ListPersonalRecordsResponse]:
        """The names of the records that are about the person."""
        found = await find(call.home, Subject.of(request.subject))
        names = [f"{collection}/{id_}" for collection, ids in found.about.items() for id_ in ids]
        for start in range(0, len(names), _AT_ONCE):
            some = names[start : start + _AT_ONCE]
            yield personal_data_pb2.ListPersonalRecordsResponse(names=some)

    async def ReadPersonalData(  # noqa: N802
        self, request: personal_data_pb2.ReadPersonalDataRequest, call: Call
    ) -> AsyncIterator[personal_data_pb2.PersonalDataPiece]:
        """All of it, file after file."""
        async for piece in read(call.home, Subject.of(request.subject)):
            yield piece


def counts(found: Found) -> list[personal_data_pb2.CollectionCount]:
    """How many records were found, by collection."""
    totals: dict[str, int] = {}
    for some in (found.own, found.about):
        for name, ids in some.items():
            totals[name] = totals.get(name, 0) + len(ids)
    return [
        personal_data_pb2.CollectionCount(collection=name, count=count)
        for name, count in sorted(totals.items())
    ]
