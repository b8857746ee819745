"""Everything that all services keep of a contact, in one archive that people can read."""

import zipfile
from collections.abc import AsyncIterator, Iterable
from html import escape
from tempfile import TemporaryFile
from typing import IO, Any
from uuid import UUID

import grpc

from crm.common.v1 import personal_data_pb2
from crmattachments.store import file_store
from crmkit.call import Call, Home
from crmkit.clients import unavailable
from crmkit.errors import Failure, NotFound
from crmkit.ids import uuid5_of, uuid7
from crmkit.jobs import enqueue
from crmkit.personal.others import with_others
from crmkit.personal.read import read
from crmkit.personal.subject import Subject
from customer.domain.contact import Contact
from customer.storage.contact import CONTACTS
from customer.storage.personal_data_export import (
    Archive,
    archives_of,
    find_archive,
    insert_archive,
    lock_archive,
    note_progress,
    save_archive,
)
from customer.usecases.personal_subject import subject_of

GATHER, REMOVE = "export_personal_data", "remove_personal_data"  # the kinds of the jobs
_READ = "/crm.common.v1.PersonalDataService/ReadPersonalData"
_SECONDS = 600.0
_ABOUT = {
    "contacts": "the contact itself",
    "accounts": "the account of the private person",
    "history": "what was changed, when, by whom, from what to what",
    "comment": "what colleagues wrote about these records",
}


async def request_export(call: Call, contact: Contact) -> Archive:
    """Promises an archive, in one transaction with its job."""
    file_store(call.home.settings)  # without one there is nowhere to keep it
    archive = Archive(uuid7(), contact.id, call.principal.user, call.now)
    await insert_archive(call, archive)
    await enqueue(call.tx, GATHER, {"archive": str(archive.id)}, job_id=archive.id)
    return archive


async def gather(call: Call, arguments: dict[str, Any]) -> None:
    """The job: asks every service, and keeps the archive; begins anew where one could not be reached."""
    archive = await find_archive(call.home.database, UUID(arguments["archive"]))
    if archive is None or archive.state != "RUNNING":
        if archive is not None and archive.state != "SUCCEEDED":  # what a killed run has left
            await file_store(call.home.settings).delete(archive.key)
        return
    try:
        contact = await CONTACTS.get(call, archive.contact)
    except NotFound:  # purged meanwhile
        await _remove(call.home, archive, "FAILED", "The contact is no more.")
        return
    subject = await subject_of(call, call.reader, contact)
    store = file_store(call.home.settings)
    with TemporaryFile() as file:
        await _fill(call.home, archive, subject, file)
        size = file.tell()
        file.seek(0)
        await store.put(archive.key, file)
    now = await lock_archive(call.tx, archive.id)
    if now is None or now.state != "RUNNING":  # the person was erased meanwhile
        await store.delete(archive.key)
        return
    now.services = archive.services
    now.complete(size, call.now)
    await save_archive(call.tx, now)
    job_id = uuid5_of(now.id, REMOVE)
    await enqueue(call.tx, REMOVE, {"archive": str(now.id)}, now.expire_time, job_id)


async def _fill(home: Home, archive: Archive, subject: Subject, file: IO[bytes]) -> None:
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        paths: list[str] = []
        # This one is the last: what it has depends on what the others have.
        for service in (*sorted(home.settings.services.keys() - {home.name}), home.name):
            try:
                paths += await _add(packed, service, await _pieces(home, service, subject))
            except Failure:
                await note_progress(home.database, archive.id, archive.services, service)
                raise
            archive.services.append(service)
            await note_progress(home.database, archive.id, archive.services, None)
        packed.writestr("index.html", _index(archive, paths))


async def _pieces(
    home: Home, service: str, subject: Subject
) -> AsyncIterator[personal_data_pb2.PersonalDataPiece]:
    if service == home.name:
        return read(home, await with_others(home, subject))
    return _asked(home, service, subject)


async def _asked(
    home: Home, service: str, subject: Subject
) -> AsyncIterator[personal_data_pb2.PersonalDataPiece]:
    stub = home.clients.channel(service).unary_stream(
        _READ,
        request_serializer=personal_data_pb2.ReadPersonalDataRequest.SerializeToString,
        response_deserializer=personal_data_pb2.PersonalDataPiece.FromString,
    )
    request = personal_data_pb2.ReadPersonalDataRequest(subject=subject.message())
    stream = stub(request, metadata=home.clients.as_service(), timeout=_SECONDS)
    try:
        async for piece in stream:
            yield piece
    except grpc.aio.AioRpcError as error:
        raise unavailable(service) from error
    finally:
        stream.cancel()


async def _add(
    packed: zipfile.ZipFile,
    service: str,
    pieces: AsyncIterator[personal_data_pb2.PersonalDataPiece],
) -> list[str]:
    """Writes a service's files into its folder; answers their paths."""
    paths: list[str] = []
    entry: IO[bytes] | None = None
    try:
        async for piece in pieces:
            path = f"{service}/{piece.path}"
            if entry is None or path != paths[-1]:
                if entry is not None:
                    entry.close()
                paths.append(path)
                entry = packed.open(path, "w", force_zip64=True)
            entry.write(piece.data)
    finally:
        if entry is not None:
            entry.close()
    return paths


def _index(archive: Archive, paths: Iterable[str]) -> str:
    """The page that says what lies where."""
    lines = [_line(path) for path in paths]
    body = "\n".join(lines) or "<li>No service keeps anything.</li>"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Personal data</title>
<h1>What is kept of you</h1>
<p>This archive was asked for on {archive.create_time:%Y-%m-%d}. Each folder is one part of the system: what
it keeps of you, and the records that are about you. Files that end in <code>.json</code> are texts that any
editor opens; each entry is one record, each line a field and its value. The folders <code>files</code> hold
files as they were added.</p>
<ul>
{body}
</ul>
</html>
"""


def _line(path: str) -> str:
    stem = path.rpartition("/")[2].removesuffix(".json")
    about = "a file" if "/files/" in path else _ABOUT.get(stem, f"{stem} that are about you")
    return f'<li><a href="{escape(path, quote=True)}">{escape(path)}</a>: {escape(about)}</li>'


async def remove(call: Call, arguments: dict[str, Any]) -> None:
    """The job at the end of the time that an archive is kept for, and once more wherever one ends."""
    archive = await find_archive(call.home.database, UUID(arguments["archive"]))
    if archive is None or archive.state == "RUNNING":
        return
    if archive.state == "SUCCEEDED":
        await _remove(call.home, archive, "EXPIRED", None)
    else:
        await file_store(call.home.settings).delete(archive.key)


async def remove_archives(home: Home, contacts: list[UUID]) -> None:
    """Removes the archives of contacts who are erased; one that is being made is not kept."""
    for archive in await archives_of(home.database, contacts):
        running = archive.state == "RUNNING"
        why = "The contact was erased." if running else None
        await _remove(home, archive, "FAILED" if running else "EXPIRED", why)


async def _remove(home: Home, archive: Archive, state: str, why: str | None) -> None:
    """Says first that it is no more: whoever is making it throws it away, and who comes later finds its end.

    The job removes the file where this process is killed in between.
    """
    async with home.database.transaction() as tx:
        now = await lock_archive(tx, archive.id)
        if now is not None:
            now.state, now.error_message = state, why
            await save_archive(tx, now)
            job_id = uuid5_of(now.id, f"{REMOVE} {state}")
            await enqueue(tx, REMOVE, {"archive": str(now.id)}, job_id=job_id)
    await file_store(home.settings).delete(archive.key)
