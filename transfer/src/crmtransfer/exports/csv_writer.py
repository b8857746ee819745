"""Rows of text as the bytes of a CSV file: RFC 4180, UTF-8."""

import csv
import io
from collections.abc import Iterable, Iterator, Sequence

CHUNK_BYTES = 1024 * 1024


def csv_bytes(rows: Iterable[Sequence[str]]) -> bytes:
    """The rows, each ending with CR LF."""
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def chunks(data: bytes) -> Iterator[bytes]:
    """The bytes in pieces of at most 1 MiB."""
    for start in range(0, len(data), CHUNK_BYTES):
        yield data[start : start + CHUNK_BYTES]
