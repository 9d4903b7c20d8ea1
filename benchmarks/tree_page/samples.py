"""Small pictures of classes: which ones of a run are kept, and how they are stored."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pml_hierarchical.search.pictures import open_picture

MAX_SAMPLES = 1000  # pictures of a tree
SAMPLES_PER_CLASS = 4  # at most
SAMPLE_SIZE = 96  # pixels
_QUALITY = 70


def chosen_samples(labels: np.ndarray, superclasses: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Which pictures to keep: a few of each class, or of as many classes of each superclass as fit.

    Arguments:
        labels: ``(n,)``, the class of each picture, 0..C-1.
        superclasses: ``(C,)``, the superclass of each class.

    Returns:
        Indices of pictures, at most 1,000, and the class of each.
    """
    num_classes, num_superclasses = len(superclasses), int(superclasses.max()) + 1
    order = np.argsort(labels, kind="stable")
    place = _place_in_group(labels[order])
    wanted = place < np.clip(MAX_SAMPLES // num_classes, 1, SAMPLES_PER_CLASS)
    if num_classes > MAX_SAMPLES:
        by_superclass = np.argsort(superclasses, kind="stable")
        rank = np.empty(num_classes, dtype=np.int64)
        rank[by_superclass] = _place_in_group(superclasses[by_superclass])
        wanted &= (rank < max(1, MAX_SAMPLES // num_superclasses))[labels[order]]
    rows = order[wanted][:MAX_SAMPLES]
    return rows, labels[rows]


def _place_in_group(sorted_labels: np.ndarray) -> np.ndarray:
    """For each of some sorted labels, how many equal ones come before it."""
    return np.arange(len(sorted_labels)) - np.searchsorted(sorted_labels, sorted_labels)


def encoded(picture: Any) -> bytes:
    """A picture as a WebP file of at most 96 x 96 pixels.

    Arguments:
        picture: a ``PIL.Image``, an array ``(h, w)`` or ``(h, w, 3)`` of ``uint8``, the path of a
            file, which is read as those of a data set are, or the bytes of a WebP file, which stay
            as they are.

    Raises:
        OSError: if a file cannot be read or holds no picture; the message names it.
    """
    if isinstance(picture, bytes):
        return picture
    if isinstance(picture, np.ndarray):
        picture = Image.fromarray(picture)
    if not isinstance(picture, Image.Image):
        picture = open_picture(picture, 2 * SAMPLE_SIZE)
    upright = ImageOps.exif_transpose(picture)
    has_alpha = "A" in upright.getbands() or "transparency" in upright.info
    small = upright.convert("RGBA" if has_alpha else "RGB")
    small.thumbnail((SAMPLE_SIZE, SAMPLE_SIZE))
    buffer = io.BytesIO()
    small.save(buffer, format="WEBP", quality=_QUALITY)
    return buffer.getvalue()


def packed(files: Sequence[bytes]) -> dict[str, np.ndarray]:
    """Several files as two arrays: ``samples``, all bytes, and ``sample_ends``, where each ends."""
    return {
        "samples": np.frombuffer(b"".join(files), np.uint8),
        "sample_ends": np.cumsum([len(file) for file in files], dtype=np.int64),
    }


def unpacked(arrays: Mapping[str, np.ndarray]) -> dict[int, list[bytes]]:
    """The files by class: what :func:`packed` made, with ``sample_classes``."""
    content, ends = arrays["samples"].tobytes(), arrays["sample_ends"].tolist()
    files: dict[int, list[bytes]] = {}
    for label, start, end in zip(arrays["sample_classes"].tolist(), [0, *ends], ends, strict=False):
        files.setdefault(label, []).append(content[start:end])
    return files
