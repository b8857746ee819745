"""Personal data of contacts: archives and erasures, as clients and the other services see them."""

from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from google.api import httpbody_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from crm.common.v1 import personal_data_pb2
from crm.customer.v1 import privacy_pb2
from crmattachments.store import file_store
from crmkit.access import RecordScope
from crmkit.call import Call
from crmkit.errors import FailedPrecondition, InvalidArgument, NotFound
from crmkit.names import parse_name
from customer.domain.erasure import Erasure, Part, refuse_erased
from customer.storage.contact import CONTACTS
from customer.storage.erasure import find_erasure, list_erasures, running_erasure, texts_of
from customer.storage.personal_data_export import Archive, find_archive, list_archives
from customer.usecases.erase_contact import preview, request_erasure
from customer.usecases.export_personal_data import request_export

_Archive, _Erasure = privacy_pb2.PersonalDataExport, privacy_pb2.Erasure


class PrivacyService:
    """What the law gives to persons."""

    async def ExportPersonalData(
        self, request: privacy_pb2.ExportPersonalDataRequest, call: Call
    ) -> privacy_pb2.PersonalDataExport:
        """Promises an archive."""
        contact = await CONTACTS.get(call, request.name)
        refuse_erased(contact.erase_time, await running_erasure(call.reader, contact.id))
        return _archive(await request_export(call, contact))

    async def GetPersonalDataExport(
        self, request: privacy_pb2.GetPersonalDataExportRequest, call: Call
    ) -> privacy_pb2.PersonalDataExport:
        """One of the caller's archives."""
        return _archive(await _own_archive(call, request.name))

    async def ListPersonalDataExports(
        self, request: privacy_pb2.ListPersonalDataExportsRequest, call: Call
    ) -> privacy_pb2.ListPersonalDataExportsResponse:
        """The caller's archives."""
        found, token = await list_archives(call, request)
        return privacy_pb2.ListPersonalDataExportsResponse(
            personal_data_exports=[_archive(one) for one in found], next_page_token=token
        )

    async def DownloadPersonalDataExport(
        self, request: privacy_pb2.DownloadPersonalDataExportRequest, call: Call
    ) -> AsyncIterator[httpbody_pb2.HttpBody]:
        """The archive in pieces."""
        archive = await _own_archive(call, request.name)
        _require_file(archive, call.now)
        file_name = f"personal-data-{archive.create_time:%Y-%m-%d}.zip"
        headers = [("content-disposition", f'attachment; filename="{file_name}"')]
        async for data in file_store(call.home.settings).get(archive.key):
            if headers:  # only once there is a file: an error is answered without them
                call.response_headers += headers
                headers = []
            yield httpbody_pb2.HttpBody(content_type="application/zip", data=data)

    async def EraseContact(
        self, request: privacy_pb2.EraseContactRequest, call: Call
    ) -> privacy_pb2.Erasure:
        """Asks every service to erase; or says what they would."""
        if not request.reason.strip():
            msg = "reason is required."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="reason")
        if request.validate_only:
            message = _erasure(await preview(call, request))
            for name in ("name", "state", "create_time"):
                message.ClearField(name)
            return message
        return _erasure(await request_erasure(call, request))

    async def GetErasure(
        self, request: privacy_pb2.GetErasureRequest, call: Call
    ) -> privacy_pb2.Erasure:
        """One erasure that the caller may see."""
        id_ = parse_name(request.name, collection="erasures", field="name")
        found = await find_erasure(call.reader, id_)
        if found is None or not (_sees_all(call) or found.creator == call.principal.user):
            raise _not_found(request.name)
        return _erasure(found)

    async def ListErasures(
        self, request: privacy_pb2.ListErasuresRequest, call: Call
    ) -> privacy_pb2.ListErasuresResponse:
        """The erasures that the caller may see."""
        creator = None if _sees_all(call) else call.principal.user
        found, token = await list_erasures(call, creator, request)
        erasures = [_erasure(one) for one in found]
        return privacy_pb2.ListErasuresResponse(erasures=erasures, next_page_token=token)


class ErasureSubjectService:
    """Tells the other services whom to erase."""

    async def GetErasureSubject(
        self, request: personal_data_pb2.GetErasureSubjectRequest, call: Call
    ) -> personal_data_pb2.PersonalDataSubject:
        """Names and addresses; names only once every service has looked twice."""
        id_ = parse_name(request.erasure, collection="erasures", field="erasure")
        found = await find_erasure(call.reader, id_)
        if found is None:
            raise _not_found(request.erasure)
        return personal_data_pb2.PersonalDataSubject(
            names=found.names, texts=await texts_of(call.reader, found)
        )


async def _own_archive(call: Call, name: str) -> Archive:
    id_ = parse_name(name, collection="personalDataExports", field="name")
    found = await find_archive(call.reader, id_)
    if found is None or found.creator is None or found.creator != call.principal.user:
        raise _not_found(name)
    return found


def _require_file(archive: Archive, now: datetime) -> None:
    if archive.state in {"RUNNING", "FAILED"}:
        msg = f"The archive is not there: it is {archive.state}."
        metadata = {"state": archive.state}
        raise FailedPrecondition(msg, reason="EXPORT_NOT_READY", metadata=metadata)
    if archive.state == "EXPIRED" or (archive.expire_time and archive.expire_time <= now):
        msg = "The archive is removed already; ask for another."
        raise FailedPrecondition(msg, reason="EXPORT_EXPIRED")


def _sees_all(call: Call) -> bool:
    assert call.method is not None  # only requests come here
    return call.principal.require(call.method.permission) is RecordScope.ALL


def _not_found(name: str) -> NotFound:
    return NotFound(f"There is no {name}.", metadata={"resource": name})


def _archive(archive: Archive) -> privacy_pb2.PersonalDataExport:
    message = _Archive(
        name=archive.name,
        contact=f"contacts/{archive.contact}",
        state=_Archive.State.Value(archive.state),
        services=archive.services,
        waits_for=archive.waits_for or "",
        size_bytes=archive.size_bytes,
        error_message=archive.error_message or "",
        creator=f"users/{archive.creator}" if archive.creator else "",
    )
    _put_times(message, archive, "create_time", "end_time", "expire_time")
    return message


def _erasure(erasure: Erasure) -> privacy_pb2.Erasure:
    message = _Erasure(
        name=erasure.name,
        contact=f"contacts/{erasure.contact}",
        reason=erasure.reason,
        state=_Erasure.State.Value(erasure.state),
        parts=[_part(part) for part in erasure.parts],
        creator=f"users/{erasure.creator}" if erasure.creator else "",
    )
    _put_times(message, erasure, "create_time", "end_time")
    return message


def _part(part: Part) -> privacy_pb2.Erasure.Part:
    confirmed = Timestamp()
    if part.confirm_time:
        confirmed.FromDatetime(datetime.fromisoformat(part.confirm_time))
    return _Erasure.Part(
        service=part.service,
        state=_Erasure.Part.State.Value(part.state),
        confirm_time=confirmed if part.confirm_time else None,
        counts=[
            personal_data_pb2.CollectionCount(collection=name, count=count)
            for name, count in sorted(part.counts.items())
        ],
    )


def _put_times(message: Any, source: Any, *names: str) -> None:
    for name in names:
        if (time := getattr(source, name)) is not None:
            getattr(message, name).FromDatetime(time)
