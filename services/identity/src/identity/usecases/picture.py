"""Pictures that people send, written anew: what comes out holds pixels and nothing else.

Neither a second meaning of the bytes (a picture that is a page too) nor what the camera noted survives that.
"""

import io
import warnings

from PIL import Image, ImageOps

from crmkit.errors import InvalidArgument

MOST_BYTES = 2 * 1024 * 1024
_KINDS = ("PNG", "JPEG", "WEBP")
_MOST_PIXELS = 10_000_000  # looked at before one is decoded; each takes some ten bytes of memory


def as_png(content: bytes, *, most_pixels_a_side: int, field: str) -> bytes:
    """A picture as PNG, upright, made smaller if it is larger; of an animation the first frame.

    Takes up to a second, and a hundred megabytes: call it in a thread, one at a time.

    Raises:
        InvalidArgument: `PICTURE_TOO_LARGE`, or `UNREADABLE_PICTURE` for all that is no PNG, JPEG or WebP.
    """
    if len(content) > MOST_BYTES:
        raise _too_large(field, MOST_BYTES, "bytes")
    try:
        return _rewritten(content, most_pixels_a_side, field)
    except Image.DecompressionBombError:
        raise _too_large(field, _MOST_PIXELS, "pixels") from None
    except InvalidArgument:
        raise
    except Exception:  # noqa: BLE001 - decoders raise whatever a broken picture makes them raise
        msg = f"{field} must be a PNG, JPEG or WebP picture."
        raise InvalidArgument(msg, reason="UNREADABLE_PICTURE", field=field) from None


def _rewritten(content: bytes, most_pixels_a_side: int, field: str) -> bytes:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the limit below is lower
        picture: Image.Image = Image.open(io.BytesIO(content), formats=_KINDS)
    if picture.width * picture.height > _MOST_PIXELS:
        raise _too_large(field, _MOST_PIXELS, "pixels")
    upright = ImageOps.exif_transpose(picture).convert("RGBA")
    upright.thumbnail((most_pixels_a_side, most_pixels_a_side))
    # Onto an empty one: what the file said beside its pixels stays behind.
    plain = Image.new("RGBA", upright.size)
    plain.paste(upright)
    output = io.BytesIO()
    plain.save(output, "PNG", optimize=True)
    return output.getvalue()


def _too_large(field: str, most: int, unit: str) -> InvalidArgument:
    msg = f"{field} must have at most {most:,} {unit}."
    return InvalidArgument(msg, reason="PICTURE_TOO_LARGE", field=field)
