"""From a file to a picture in RGB, in the same way for every data set of the suite."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

READING_VERSION = 2  # increase it with every change of what is read from the same bytes

# Pillow hands EPS to Ghostscript, which is no reader for files of others; it only names the rest.
NOT_READ = ("EPS", "BUFR", "GRIB", "HDF5", "MPEG", "WMF")
WHITE_OF_INTEGERS = (255, 65535, 2**31 - 1)
WHITE_OF_FLOATS = (1, 255, 65535)


def readable_formats() -> list[str]:
    """The formats that are read: those that Pillow decodes by itself."""
    Image.init()
    return [name for name in Image.OPEN if name not in NOT_READ]


def readable_suffixes() -> frozenset[str]:
    """The suffixes of these formats in lower case, with their dots."""
    formats = readable_formats()
    return frozenset(s for s, name in Image.registered_extensions().items() if name in formats)


def is_picture(file: Path) -> bool:
    """Whether the first bytes of a file are those of a picture, whatever its name is."""
    if not file.is_file():  # a pipe would never end
        return False
    try:
        with Image.open(file, formats=readable_formats()):
            return True
    except Exception:  # what the decoders raise is not documented
        return False


def read_picture(content: bytes, smallest: int | None = None) -> Image.Image:
    """The picture in a file, in RGB.

    It is turned as its EXIF data say. White is the largest value of 16 bits; of 32-bit integers
    and of floats it is the smallest of 1 (floats only), 255, 65535 and 2**31 - 1 (integers only)
    that no pixel exceeds. Transparent pixels are shown on white. Of an animation or of several
    pages the first is read.

    Arguments:
        content: the bytes of the file.
        smallest: a JPEG may be decoded at a reduced size, with both sides at least this long.

    Raises:
        Exception: if it cannot be decoded; what Pillow's decoders raise is not documented.
    """
    with Image.open(io.BytesIO(content), formats=readable_formats()) as image:
        if smallest is not None:
            image.draft("RGB", (smallest, smallest))
        image.load()
        return _opaque(_eight_bits(ImageOps.exif_transpose(image)))


def _eight_bits(image: Image.Image) -> Image.Image:
    if not image.mode.startswith(("I", "F")):
        return image
    values = np.asarray(image)
    if not np.isfinite(values).all() or values.min() < 0:
        raise ValueError(f"it has values that are not finite or below 0 (mode {image.mode})")
    if image.mode.startswith("I;16"):
        white = 65535
    else:
        candidates = WHITE_OF_FLOATS if image.mode == "F" else WHITE_OF_INTEGERS
        fitting = [white for white in candidates if values.max() <= white]
        if not fitting:
            raise ValueError(f"it has values above {candidates[-1]} (mode {image.mode})")
        white = fitting[0]
    return Image.fromarray((values * (255 / white)).round().astype(np.uint8))


def _opaque(image: Image.Image) -> Image.Image:
    if not image.has_transparency_data:
        return image.convert("RGB")
    white = Image.new("RGBA", image.size, "white")
    return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
