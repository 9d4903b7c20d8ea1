"""Why a picture cannot be read, in a few words."""

from __future__ import annotations

from PIL import Image, UnidentifiedImageError

MOST_PIXELS = 2 * (Image.MAX_IMAGE_PIXELS or 0)  # more are an error in Pillow
TOO_LARGE = f"too large, at most {MOST_PIXELS // 10**6} million pixels are read"


def reason_of(error: Exception) -> str:
    """Why a picture cannot be read, from what was raised when it was read.

    Example:
        >>> reason_of(OSError("image file is truncated (9 bytes not processed)"))
        'cut off or damaged'
    """
    if isinstance(error, Image.DecompressionBombError):
        return TOO_LARGE
    if isinstance(error, UnidentifiedImageError):  # its text is the address of an object
        return "not a picture that Pillow can read"
    if "truncated" in str(error).lower():
        return "cut off or damaged"
    return (isinstance(error, OSError) and error.strerror) or str(error) or type(error).__name__
