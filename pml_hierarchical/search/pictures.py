"""From a file to a picture in RGB: the same for training, embedding and search."""

from __future__ import annotations

import io
from contextlib import suppress
from pathlib import Path

import numpy as np
from PIL import ExifTags, Image, ImageOps

READING_VERSION = 3  # increase it with every change of what is read from the same bytes

# Pillow hands EPS to Ghostscript, unsafe for untrusted files; it can only identify the rest.
NOT_READ = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
WHITES = {"F": (1, 255, 65535), "I": (255, 65535, 2**31 - 1)}  # by mode; others have 16 bits
_TURNS = dict(zip(range(2, 9), map(Image.Transpose, (0, 3, 1, 5, 4, 6, 2)), strict=True))  # of EXIF


def readable_formats() -> list[str]:
    """The formats that are read: those that Pillow decodes by itself."""
    Image.init()
    return [name for name in Image.OPEN if name not in NOT_READ]


def open_picture(picture: str | Path | Image.Image, smallest: int | None = None) -> Image.Image:
    """A file or an opened picture in RGB, as :func:`read_picture`; an ``OSError`` names the file.

    Example:
        >>> open_picture(Image.new("LA", (2, 2), (0, 0))).getpixel((0, 0))  # transparent
        (255, 255, 255)
    """
    if isinstance(picture, Image.Image):
        turn = None
        with suppress(Exception):  # damaged EXIF data; Pillow's exif_transpose raises for them
            turn = _TURNS.get(picture.getexif().get(ExifTags.Base.Orientation, 1))
        shown = _opaque(_eight_bits(picture if turn is None else picture.transpose(turn)))
        shown.info.clear()  # if it is opened again, it must not be turned again
        return shown
    content = Path(picture).read_bytes()
    try:
        return read_picture(content, smallest)
    except Exception as error:  # what the decoders raise is not documented
        told = "cannot be read ({}): give a file that Pillow opens, such as JPEG or PNG"
        if "truncated" in str(error).lower():
            told = "is cut off or damaged ({}): copy it again"
        reason = str(error).partition(" <")[0]  # without the address of an object
        raise OSError(f"the picture {str(picture)!r} {told.format(reason)}") from error


def read_picture(content: bytes, smallest: int | None = None) -> Image.Image:
    """The picture in a file, in RGB.

    It is turned as its EXIF data say. White is the largest value of 16 bits; of 32-bit integers
    and of floats it is the smallest of 1 (floats only), 255, 65535 and 2**31 - 1 (integers only)
    that no pixel exceeds. Transparent pixels are shown on white. The first of several pages is
    read, and the middle of a strip of over 100:1. For other bytes, decoders may raise any error.

    Arguments:
        content: the bytes of the file.
        smallest: a JPEG may be decoded at a reduced size, with both sides at least this long.
    """
    with Image.open(io.BytesIO(content), formats=readable_formats()) as image:
        if smallest is not None:
            image.draft("RGB", (smallest, smallest))
        image.load()
        x, y = (max(0, side - 100 * min(image.size)) // 2 for side in image.size)
        # all of a long strip, enlarged by a network's transform, would not fit into memory
        return open_picture(ImageOps.crop(image, (x, y)) if x or y else image)


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"it has values that are negative or not finite (mode {image.mode})")
    whites: tuple[int, ...] = WHITES.get(image.mode, (65535,))
    if not (fitting := [white for white in whites if values.max() <= white]):
        raise ValueError(f"it has values above {whites[-1]} (mode {image.mode})")
    return Image.fromarray((values * (255 / fitting[0])).round().astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
