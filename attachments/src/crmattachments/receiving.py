"""Files on their way in: each is kept aside, in full, before anything else is done with it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from crmattachments.content_types import HEAD_BYTES, TextCheck
from crmkit.errors import Aborted, InvalidArgument, ResourceExhausted

MIB = 1024 * 1024
_IN_MEMORY_BYTES = MIB  # the rest of a file goes to the temporary folder
_ROOM_BYTES = 128 * MIB  # in containers that folder is memory too
_SECONDS = 600.0  # for sending a file


@dataclass(frozen=True)
class Received:
    """A file that is here as a whole; `file` stands at its beginning."""

    file: IO[bytes]
    head: bytes
    is_text: bool
    size_bytes: int
    sha256: bytes


class Room:
    """Room for the files that a process receives at once."""

    def __init__(self, most_bytes: int = _ROOM_BYTES) -> None:
        """Takes the size of the room."""
        self._free = most_bytes

    @asynccontextmanager
    async def receive(
        self, first: Any, rest: AsyncIterator[Any], most_mib: int
    ) -> AsyncIterator[Received]:
        """The file that a request's messages hold; it is gone when the block ends.

        Raises:
            InvalidArgument: `ATTACHMENT_TOO_LARGE`, or `REQUIRED_FIELD` if it is empty.
            ResourceExhausted: Too many files arrive at once.
            Aborted: `UPLOAD_TOO_SLOW`.
        """
        with SpooledTemporaryFile(max_size=_IN_MEMORY_BYTES) as file:
            arriving = _Arriving(file, most_mib)
            try:
                await self._fill(arriving, first, rest)
                yield arriving.complete()
            finally:
                self._free += arriving.size

    async def _fill(self, arriving: "_Arriving", first: Any, rest: AsyncIterator[Any]) -> None:
        try:
            async with asyncio.timeout(_SECONDS):
                self._keep(arriving, first.file.data)
                async for request in rest:
                    self._keep(arriving, request.file.data)
        except TimeoutError:
            msg = f"The file did not arrive within {_SECONDS / 60:.0f} minutes."
            raise Aborted(msg, reason="UPLOAD_TOO_SLOW") from None

    def _keep(self, arriving: "_Arriving", piece: bytes) -> None:
        if len(piece) > self._free:
            msg = "Too many files arrive at once."
            raise ResourceExhausted(msg, retry_after=5)
        self._free -= len(piece)
        arriving.add(piece)


class _Arriving:
    """What has come of a file."""

    def __init__(self, file: IO[bytes], most_mib: int) -> None:
        self.size = 0
        self._file = file
        self._most_mib = most_mib
        self._head = b""
        self._text = TextCheck()
        self._digest = hashlib.sha256()

    def add(self, piece: bytes) -> None:
        self.size += len(piece)
        if self.size > self._most_mib * MIB:
            msg = f"An attachment has at most {self._most_mib} MiB."
            metadata = {"most_mib": str(self._most_mib)}
            raise InvalidArgument(
                msg, reason="ATTACHMENT_TOO_LARGE", field="file", metadata=metadata
            )
        self._head += piece[: HEAD_BYTES - len(self._head)]
        self._digest.update(piece)
        self._text.add(piece)
        self._file.write(piece)

    def complete(self) -> Received:
        if not self.size:
            msg = "file is empty."
            raise InvalidArgument(msg, reason="REQUIRED_FIELD", field="file")
        self._file.seek(0)
        digest = self._digest.digest()
        return Received(self._file, self._head, self._text.holds(), self.size, digest)
