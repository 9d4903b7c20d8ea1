"""From the bytes of an upload to a picture, and from a picture to a small JPEG."""

from __future__ import annotations

import io
from pathlib import Path
from typing import IO

from PIL import Image, UnidentifiedImageError

from pml_hierarchical.search.pictures import read_picture

LARGEST_UPLOAD = 20 * 2**20  # bytes
MOST_PIXELS = 64_000_000  # in RGB 192 MB

# Only formats that browsers and cameras write: each further decoder is one more to attack.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF", "AVIF")
FORMATS_IN_WORDS = "JPEG, PNG, WebP, GIF, BMP, TIFF or AVIF"

TOO_LARGE = f"larger than {MOST_PIXELS // 10**6} million pixels"
OTHER_FORMAT = f"in a format other than {FORMATS_IN_WORDS}"


def read_upload(content: bytes, smallest: int | None = None) -> Image.Image:
    """The picture in an uploaded file, in RGB.

    It is read as the pictures of a gallery are: rotated as its EXIF data say, transparency on
    white, the first picture of an animation, 16 bits and CMYK converted.

    Arguments:
        content: the bytes of the file.
        smallest: a JPEG may be decoded at a reduced size, with both sides at least this long.

    Raises:
        ValueError: if it is not a picture, is truncated or has more than 64 million pixels; the
            message can be shown to the user.
    """
    if not content:
        raise ValueError("The upload is empty. Choose a picture file.")
    try:
        width, height = size_of(io.BytesIO(content))
    except UnidentifiedImageError as error:
        raise ValueError(_not_a_picture(content)) from error
    except Image.DecompressionBombError as error:
        raise ValueError(f"The picture has far more than {_millions(MOST_PIXELS)}.") from error
    except Exception as error:  # what the decoders raise is not documented
        raise ValueError(f"The picture cannot be read: {error}.") from error
    if width * height > MOST_PIXELS:
        raise ValueError(
            f"The picture has {width:,} x {height:,} pixels, at most {_millions(MOST_PIXELS)} "
            "are read. Make it smaller first."
        )
    try:
        return read_picture(content, smallest)
    except Exception as error:  # what the decoders raise is not documented
        raise ValueError(f"The picture is damaged or incomplete: {error}.") from error


def size_of(file: Path | IO[bytes]) -> tuple[int, int]:
    """The pixels of a picture, by its header alone.

    Raises:
        UnidentifiedImageError: if it has none of the formats that are read.
        Image.DecompressionBombError: if there are far too many.
        Exception: what the decoders raise is not documented.
    """
    Image.init()  # registers the formats
    known = [name for name in FORMATS if name in Image.OPEN]  # Pillow can be built without AVIF
    with Image.open(file, formats=known) as image:
        return image.size


def suffixes_shown() -> frozenset[str]:
    """The usual suffixes of the formats that are read, in lower case and with their dots."""
    known = Image.registered_extensions()
    return frozenset(suffix for suffix, name in known.items() if name in FORMATS)


def why_not_shown(file: Path) -> str | None:
    """Why the header of a picture keeps it from being shown; ``None`` if nothing does."""
    try:
        width, height = size_of(file)
    except Image.DecompressionBombError:
        return TOO_LARGE
    except UnidentifiedImageError:
        return OTHER_FORMAT
    except Exception:  # what the decoders raise is not documented
        return "damaged"
    return TOO_LARGE if width * height > MOST_PIXELS else None


def as_jpeg(content: bytes, side: int) -> bytes:
    """A picture of at most ``side`` x ``side`` pixels as JPEG, without EXIF data.

    Raises:
        ValueError: if the content cannot be read, see :func:`read_upload`.
    """
    picture = read_upload(content, smallest=side)
    picture.thumbnail((side, side))
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=85)
    return buffer.getvalue()


def _not_a_picture(content: bytes) -> str:
    if content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"mif1", b"hevc"):
        return f"A HEIC picture cannot be read. Save it as {FORMATS_IN_WORDS}."
    if b"<svg" in content[:1000].lower():
        return f"SVG is a drawing, not a picture of pixels. Save it as {FORMATS_IN_WORDS}."
    return f"This is not a picture that can be read. Use {FORMATS_IN_WORDS}."


def _millions(pixels: int) -> str:
    return f"{pixels // 10**6} million pixels"
