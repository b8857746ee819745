"""The address of a store of files, `CRM_ATTACHMENTS_URL`: a folder, or a bucket that speaks S3."""

from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated
from urllib.parse import parse_qsl, unquote, urlsplit

from pydantic import AfterValidator

_OPTIONS = {"endpoint", "region"}


@dataclass(frozen=True)
class FileStoreAddress:
    """Where files are kept.

    Attributes:
        bucket: The bucket's name; empty for a folder.
        path: The folder, or what the keys in the bucket begin with.
        endpoint: The server of the bucket; Amazon's of the region if empty.
        region: The bucket's region; `us-east-1` if empty.
    """

    bucket: str
    path: str
    endpoint: str = ""
    region: str = ""


def parse(url: str) -> FileStoreAddress:
    """Reads `file:///folder` or `s3://bucket/prefix?endpoint=https://host:port&region=name`.

    Raises:
        ValueError: It is neither.
    """
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.scheme == "file" and not (parts.netloc or parts.query) and _is_folder(path):
        return FileStoreAddress("", path)
    pairs = parse_qsl(parts.query, strict_parsing=True) if parts.query else []
    options = dict(pairs)
    endpoint = options.get("endpoint", "")
    if parts.scheme != "s3" or not parts.hostname or not options.keys() <= _OPTIONS:
        msg = (
            "must look like file:///folder or s3://bucket/prefix?endpoint=https://host&region=name"
        )
        raise ValueError(msg)
    if parts.username or parts.password:
        msg = "must hold no key: CRM_ATTACHMENTS_ACCESS_KEY and CRM_ATTACHMENTS_SECRET_KEY do"
        raise ValueError(msg)
    if endpoint and urlsplit(endpoint).scheme not in ("http", "https"):
        msg = "must name its endpoint with https:// or http://"
        raise ValueError(msg)
    return FileStoreAddress(parts.hostname, path.strip("/"), endpoint, options.get("region", ""))


def _is_folder(path: str) -> bool:
    return len(PurePosixPath(path).parts) > 1 and ".." not in PurePosixPath(path).parts


def _checked(url: str) -> str:
    if url:
        parse(url)
    return url


FileStoreUrl = Annotated[str, AfterValidator(_checked)]
