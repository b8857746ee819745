"""Files on their way to become attachments: bytes are kept before there is a row, and promised to go."""

from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

from crmattachments import file_names, removal, rows
from crmattachments.content_types import sniff
from crmattachments.receiving import Room
from crmattachments.store import FileStore, file_store
from crmkit.call import Call, Home
from crmkit.errors import Aborted, InvalidArgument
from crmkit.ids import uuid7

_ABANDONED_AFTER = timedelta(hours=1)  # longer than storing a file takes


class Files:
    """The files of one process of a service."""

    def __init__(self) -> None:
        """Opens the store when it is first needed."""
        self._store: FileStore | None = None
        self._room = Room()

    def store(self, home: Home) -> FileStore:
        """Where the bytes lie; raises FailedPrecondition `ATTACHMENTS_NOT_CONFIGURED`."""
        if self._store is None:
            self._store = file_store(home.settings)
        return self._store

    async def receive(
        self, call: Call, first: Any, rest: AsyncIterator[Any], file_name: str
    ) -> dict[str, Any]:
        """Receives a file and keeps its bytes; answers the row that is to point to them.

        Args:
            call: The request.
            first: The first of its messages; it and the others hold pieces in `file.data`.
            rest: The others.
            file_name: What the file is called.

        Raises:
            InvalidArgument: It is too large, empty, not what its name says, or a form with a file in it.
            FailedPrecondition: `ATTACHMENTS_NOT_CONFIGURED`.
            ResourceExhausted: Too many files arrive at once.
        """
        store, file_name = self.store(call.home), file_names.cleaned(file_name)
        most_mib = call.home.settings.attachments_max_mib
        async with self._room.receive(first, rest, most_mib) as received:
            suffix = file_names.suffix(file_name)
            content_type = sniff(received.head, suffix, is_text=received.is_text)
            row = rows.new(call, uuid7(), file_name, content_type, received)
            async with call.home.database.transaction() as tx:
                await removal.promise(tx, row["id"], call.now + _ABANDONED_AFTER)
            await store.put(rows.key(call.home.name, row["id"]), received.file)
        return row


async def first_of(requests: AsyncIterator[Any], field: str) -> Any:
    """The first message of a request; raises InvalidArgument where there is none, or it holds a form."""
    first = await anext(requests, None)
    if first is None:
        msg = f"{field} is required."
        raise InvalidArgument(msg, reason="REQUIRED_FIELD", field=field)
    if first.file.content_type.lower().startswith("multipart/"):  # would be kept as it stands
        msg = "file must be the file's bytes themselves, not a form that holds it."
        raise InvalidArgument(msg, field="file")
    return first


async def take_back(call: Call, row: dict[str, Any]) -> None:
    """Keeps the bytes that were received; raises Aborted if they are being removed already."""
    if not await removal.take_back(call.tx, row["id"]):
        msg = "The file arrived too slowly; send it again."
        raise Aborted(msg, reason="UPLOAD_TOO_SLOW")
