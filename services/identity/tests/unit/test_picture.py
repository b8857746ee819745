"""Pictures are written anew; what is none, or too large, is refused before it is decoded."""

import io
import struct
import tracemalloc
import zlib
from typing import Any

import pytest
from PIL import Image

from crmkit.errors import InvalidArgument
from identity.usecases.picture import MOST_BYTES, as_png

SECRET = b"<?php system($_GET[0]);"


def encoded(
    kind: str, size: tuple[int, int] = (60, 40), mode: str = "RGB", **options: Any
) -> bytes:
    output = io.BytesIO()
    Image.new(mode, size, (200, 10, 10, 128)[: len(mode)]).save(output, kind, **options)
    return output.getvalue()


def png_that_claims(width: int, height: int) -> bytes:
    """A beginning alone: what it claims is never there."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(b"\x00")))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def noted(tag: int, value: Any) -> Image.Exif:
    """What a camera writes beside a picture."""
    exif = Image.Exif()
    exif[tag] = value
    return exif


def written_anew(content: bytes) -> Image.Image:
    png = as_png(content, most_pixels_a_side=1024, field="image")
    return Image.open(io.BytesIO(png), formats=["PNG"])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_out_as_png(kind: str) -> None:
    assert written_anew(encoded(kind)).size == (60, 40)


def test_a_large_picture_keeps_its_shape() -> None:
    assert written_anew(encoded("PNG", (3000, 1500))).size == (1024, 512)


def test_what_can_be_seen_through_stays_so() -> None:
    assert written_anew(encoded("PNG", mode="RGBA")).getpixel((0, 0)) == (200, 10, 10, 128)


def test_a_picture_stands_upright() -> None:
    """As its camera noted that it was held."""
    content = encoded("JPEG", exif=noted(0x0112, 6))
    assert written_anew(content).size == (40, 60)


@pytest.mark.parametrize(
    "content",
    [
        encoded("JPEG", comment=SECRET),
        encoded("JPEG") + SECRET,
        encoded("PNG") + SECRET,
        encoded("WEBP", exif=noted(0x010E, SECRET.decode())),
    ],
    ids=["comment", "after a jpeg", "after a png", "exif"],
)
def test_nothing_but_pixels_comes_out(content: bytes) -> None:
    """INVARIANT: a picture that is also a program is only a picture afterwards."""
    assert SECRET in content
    assert SECRET not in as_png(content, most_pixels_a_side=1024, field="image")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"<!doctype html><script>",
        SECRET,
        encoded("GIF"),
        encoded("BMP"),
        encoded("PNG")[:60],
        encoded("JPEG")[:200],
        png_that_claims(60, 40),
        png_that_claims(0, 40),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        b"RIFF\xff\xff\xff\xffWEBPVP8 " + bytes(20),
    ],
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    with pytest.raises(InvalidArgument) as refused:
        as_png(content, most_pixels_a_side=1024, field="image")
    assert refused.value.reason == "UNREADABLE_PICTURE"
    assert refused.value.violations[0].field == "image"


@pytest.mark.parametrize("size", [(30_000, 30_000), (1, 10_000_001), (20_000, 501)])
def test_too_many_pixels_are_refused_before_they_are_decoded(size: tuple[int, int]) -> None:
    """INVARIANT: a header of some bytes costs no memory."""
    tracemalloc.start()
    with pytest.raises(InvalidArgument) as refused:
        as_png(png_that_claims(*size), most_pixels_a_side=1024, field="image")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert refused.value.reason == "PICTURE_TOO_LARGE"
    assert peak < 1_000_000


def test_too_many_bytes_are_refused() -> None:
    with pytest.raises(InvalidArgument) as refused:
        as_png(encoded("PNG") + bytes(MOST_BYTES), most_pixels_a_side=1024, field="image")
    assert refused.value.reason == "PICTURE_TOO_LARGE"
