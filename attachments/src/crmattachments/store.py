"""Where the bytes of files lie: a folder or a bucket, behind one port.

Both are `obstore`. What its folder lacks is added here: bytes that were put survive a loss of power.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import obstore
import structlog
from obstore.exceptions import BaseError
from obstore.store import LocalStore, ObjectStore, S3Store

from crmkit import file_store_url
from crmkit.errors import FailedPrecondition, Unavailable
from crmkit.settings import ServiceSettings

PIECE_BYTES = 256 * 1024  # of a download
_PUTS_AT_ONCE = 2  # each holds one file in memory
_CONNECT_TIME = timedelta(seconds=5)
_SILENCE = timedelta(seconds=60)  # of the server: while a file goes to it, or between its pieces
_WHOLE_TIME = timedelta(hours=1)  # a download takes as long as whoever reads it
_RETRY_TIME = timedelta(seconds=30)
if TYPE_CHECKING:
    from obstore.store import S3Config  # a type only: there is nothing to import

_log = structlog.get_logger("crm.attachments")


class Missing(Unavailable):
    """The store works, and has no such file."""


class FileStore(Protocol):
    """Keeps bytes under keys. What fails because of the store raises Unavailable."""

    async def put(self, key: str, file: IO[bytes]) -> None:
        """Keeps a file, from where it stands to its end; it is there as a whole, and durable, or not."""

    def get(self, key: str) -> AsyncIterator[bytes]:
        """The file in pieces."""

    async def delete(self, key: str) -> None:
        """Removes a file, if it is there."""


def file_store(settings: ServiceSettings) -> FileStore:
    """The store of the settings.

    Raises:
        FailedPrecondition: `ATTACHMENTS_NOT_CONFIGURED`.
    """
    if not settings.attachments_url:
        msg = "This installation takes no attachments: CRM_ATTACHMENTS_URL is not set."
        raise FailedPrecondition(msg, reason="ATTACHMENTS_NOT_CONFIGURED")
    address = file_store_url.parse(settings.attachments_url)
    if not address.bucket:
        return Folder(Path(address.path))
    secret = settings.attachments_secret_key
    return Bucket(
        address, settings.attachments_access_key, secret.get_secret_value() if secret else ""
    )


class _Store:
    """What is the same for both."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self._room = asyncio.Semaphore(_PUTS_AT_ONCE)

    async def put(self, key: str, file: IO[bytes]) -> None:
        """Keeps a file."""
        try:
            async with self._room:
                # In one request: parts of one that is broken off would lie in a bucket, hidden, for ever.
                await obstore.put_async(self._store, key, file, use_multipart=False)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def get(self, key: str) -> AsyncIterator[bytes]:
        """The file in pieces; raises Missing where there is none."""
        try:
            answer = await obstore.get_async(self._store, key)
            async for piece in answer.stream(min_chunk_size=PIECE_BYTES):
                yield bytes(piece)
        except FileNotFoundError as error:
            raise _unavailable(error, Missing) from error
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error

    async def delete(self, key: str) -> None:
        """Removes a file, if it is there."""
        try:
            with suppress(FileNotFoundError):
                await obstore.delete_async(self._store, key)
        except (BaseError, OSError) as error:
            raise _unavailable(error) from error


class Folder(_Store):
    """Files in a folder of this machine, or one that all replicas of a service share."""

    def __init__(self, root: Path) -> None:
        """Makes the folder, for its owner only, if it is not there."""
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise _unavailable(error) from error
        super().__init__(LocalStore(root))
        self._root = root

    async def put(self, key: str, file: IO[bytes]) -> None:
        """Keeps a file; it is on the disk when this returns."""
        await super().put(key, file)
        try:
            await asyncio.to_thread(self._sync, self._root / key)
        except OSError as error:
            raise _unavailable(error) from error

    def _sync(self, path: Path) -> None:
        """The file, then each folder that may have a new entry."""
        for one in (path, *path.parents):
            descriptor = os.open(one, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            if one == self._root:
                return


class Bucket(_Store):
    """Files in a bucket of Amazon S3 or of a server that speaks its protocol."""

    def __init__(
        self, address: file_store_url.FileStoreAddress, access_key: str, secret_key: str
    ) -> None:
        """Takes the bucket and the key; without one obstore finds what rights the machine itself has."""
        config: S3Config = {"bucket": address.bucket, "region": address.region or "us-east-1"}
        if address.endpoint:
            config["endpoint"] = address.endpoint
        if access_key:
            config["access_key_id"] = access_key
            config["secret_access_key"] = secret_key
        store = S3Store(
            prefix=address.path or None,
            config=config,
            client_options={
                "allow_http": address.endpoint.startswith("http://"),
                "connect_timeout": _CONNECT_TIME,
                "read_timeout": _SILENCE,
                "timeout": _WHOLE_TIME,
            },
            retry_config={"max_retries": 3, "retry_timeout": _RETRY_TIME},
        )
        super().__init__(store)


def _unavailable(error: Exception, kind: type[Unavailable] = Unavailable) -> Unavailable:
    """What went wrong is for the operators' log: it names hosts and paths."""
    _log.error("the store of files failed", error=f"{type(error).__name__}: {error}"[:500])
    msg = "The store of files cannot be used now."
    return kind(msg, reason="STORAGE_UNAVAILABLE", retry_after=5)
