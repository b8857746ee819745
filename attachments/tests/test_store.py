"""The port of the store of files, on a real folder and on a server that speaks S3."""

import io
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from moto.server import ThreadedMotoServer

from crmattachments.store import FileStore, file_store
from crmkit.errors import FailedPrecondition, Unavailable
from crmkit.ports import free_port
from crmkit.settings import ServiceSettings

BUCKET = "crm-files"
BIG = bytes(range(256)) * 4096 * 9  # 9 MiB: more than one piece, and more than S3's least part


def settings(url: str, **others: Any) -> ServiceSettings:
    least = {"database_url": "postgresql://none", "services": {}, "keys_dir": "/"}
    return ServiceSettings.model_validate({**least, "attachments_url": url, **others})


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of a server with an empty bucket."""
    server = ThreadedMotoServer("127.0.0.1", free_port(), verbose=False)
    server.start()
    endpoint = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
    keys = {"aws_access_key_id": "key", "aws_secret_access_key": "secret"}
    client = boto3.client("s3", endpoint_url=endpoint, region_name="us-east-1", **keys)
    client.create_bucket(Bucket=BUCKET)
    yield endpoint
    server.stop()


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> FileStore:
    if request.param == "folder":
        return file_store(settings((tmp_path / "files").as_uri()))
    url = f"s3://{BUCKET}/prefix?endpoint={request.getfixturevalue('s3')}&region=us-east-1"
    keys = {"attachments_access_key": "key", "attachments_secret_key": "secret"}
    return file_store(settings(url, **keys))


async def read(store: FileStore, key: str) -> bytes:
    return b"".join([piece async for piece in store.get(key)])


@pytest.mark.parametrize("content", [b"x", BIG], ids=["small", "big"])
async def test_what_is_put_is_there_until_it_is_deleted(store: FileStore, content: bytes) -> None:
    await store.put("sales/0a/one", io.BytesIO(content))
    await store.put("sales/0a/two", io.BytesIO(b"another"))
    assert await read(store, "sales/0a/one") == content
    await store.delete("sales/0a/one")
    with pytest.raises(Unavailable):
        await read(store, "sales/0a/one")
    assert await read(store, "sales/0a/two") == b"another"


async def test_deleting_what_is_not_there_is_no_failure(store: FileStore) -> None:
    """INVARIANT: removing can be repeated."""
    await store.delete("sales/00/nothing")
    await store.delete("sales/00/nothing")


async def test_a_big_file_comes_in_pieces(store: FileStore) -> None:
    """A download holds a piece in memory, not the file."""
    await store.put("sales/0b/big", io.BytesIO(BIG))
    sizes = [len(piece) async for piece in store.get("sales/0b/big")]
    assert sum(sizes) == len(BIG)
    assert max(sizes) <= 3 * 1024 * 1024


async def test_a_folder_is_its_owners_only(tmp_path: Path) -> None:
    file_store(settings((tmp_path / "files").as_uri()))
    assert stat.S_IMODE((tmp_path / "files").stat().st_mode) == 0o700


async def test_a_store_that_is_away_is_named_as_such() -> None:
    """And tells no host, bucket or key."""
    url = f"s3://{BUCKET}?endpoint=http://127.0.0.1:{free_port()}"
    keys = {"attachments_access_key": "a-key", "attachments_secret_key": "a-secret"}
    away = file_store(settings(url, **keys))
    with pytest.raises(Unavailable) as refused:
        await away.put("sales/00/x", io.BytesIO(b"x"))
    assert refused.value.reason == "STORAGE_UNAVAILABLE"
    assert not any(word in str(refused.value) for word in ("127.0.0.1", BUCKET, "a-secret"))


async def test_a_disk_that_cannot_be_written_is_no_defect(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(Unavailable):
        file_store(settings((tmp_path / "file/files").as_uri()))


def test_without_a_place_there_is_no_store() -> None:
    with pytest.raises(FailedPrecondition) as refused:
        file_store(settings(""))
    assert refused.value.reason == "ATTACHMENTS_NOT_CONFIGURED"
