"""What other services have about a person, for a service whose records refer to theirs."""

import grpc

from crm.common.v1 import personal_data_pb2
from crmkit import contract
from crmkit.call import Home
from crmkit.clients import unavailable
from crmkit.personal.declaration import OWNER
from crmkit.personal.subject import Subject

_LIST = "/crm.common.v1.PersonalDataService/ListPersonalRecords"
_SECONDS = 60.0


async def with_others(home: Home, subject: Subject) -> Subject:
    """The subject, with the records of other services that are about them where that matters here.

    Raises:
        Unavailable: One of the others cannot be reached.
    """
    if not home.personal.asks_others:
        return subject
    asked = services_about(subject) - {home.name, OWNER}
    last = {OWNER} - {home.name}  # its records may refer to those of the others
    for service in (*sorted(asked), *last):
        if service in home.settings.services:
            subject = subject.joined(await _names(home, service, subject))
    return subject


def services_about(subject: Subject) -> set[str]:
    """The services whose records can refer to the person."""
    return {
        resource.service
        for resource in contract.resources().values()
        if subject.records.keys() & contract.referred_collections(resource.message)
    }


async def _names(home: Home, service: str, subject: Subject) -> list[str]:
    stub = home.clients.channel(service).unary_stream(
        _LIST,
        request_serializer=personal_data_pb2.ListPersonalRecordsRequest.SerializeToString,
        response_deserializer=personal_data_pb2.ListPersonalRecordsResponse.FromString,
    )
    request = personal_data_pb2.ListPersonalRecordsRequest(subject=subject.message())
    stream = stub(request, metadata=home.clients.as_service(), timeout=_SECONDS)
    names: list[str] = []
    try:
        async for piece in stream:
            names += piece.names
    except grpc.aio.AioRpcError as error:
        raise unavailable(service) from error
    finally:
        stream.cancel()
    return names
