"""Small pictures of the test images of a data set, kept once beside its runs for the report."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image, features

from .artifacts import picture
from .datasets.base import RetrievalData
from .files import DamagedFileError, read_arrays, write_arrays

THUMBNAILS_FILE = "thumbnails.npz"
MAX_PICTURES = 2000  # as many as a map of the embeddings shows
SEED = 0
SIZE, QUALITY = 56, 45  # pixels; about 800 bytes for a photograph
_KINDS = {b"RIFF": "image/webp", b"\xff\xd8\xff\xe0": "image/jpeg"}


def sample(count: int) -> np.ndarray:
    """The rows that a map shows: all, or as many as are still told apart; the same every time."""
    if count <= MAX_PICTURES:
        return np.arange(count)
    rows: np.ndarray = np.random.default_rng(SEED).choice(count, MAX_PICTURES, replace=False)
    return np.sort(rows)


def keep_thumbnails(data: RetrievalData, fold: int, folder: Path) -> None:
    """Keep pictures of the test images that a map of the embeddings shows; not twice.

    The test images are the same for all folds. The file has ``indices`` (n,), of the images in the
    data set; ``content``, ``uint8``: their files, one after the other; and ``ends`` (n,), where
    each of them ends.

    Arguments:
        data: the data set.
        fold: any that is run.
        folder: of the data set, below ``--out``.
    """
    path = folder / THUMBNAILS_FILE
    test = data.split(fold).test
    indices = test[sample(len(test))]
    if path.exists():
        try:
            if np.array_equal(_read(path)["indices"], indices):
                return
        except DamagedFileError:
            pass  # it is made again
    files = [_encoded(picture(data, index)) for index in indices]
    arrays = {
        "indices": indices,
        "content": np.frombuffer(b"".join(files), np.uint8),
        "ends": np.cumsum([len(file) for file in files]),
    }
    write_arrays(path, arrays)


def read_thumbnails(path: Path) -> dict[int, str]:
    """The address, ``data:image/...``, of each image of the data set that has a picture.

    Raises:
        DamagedFileError: if the file is damaged.
        OSError: if there is none.
    """
    found = _read(path)
    content, ends = found["content"].tobytes(), found["ends"].tolist()
    parts = [content[start:end] for start, end in zip([0, *ends], ends, strict=False)]
    return {
        index: f"data:{_KINDS[part[:4]]};base64,{base64.b64encode(part).decode()}"
        for index, part in zip(found["indices"].tolist(), parts, strict=True)
        if part[:4] in _KINDS
    }


def _read(path: Path) -> dict[str, np.ndarray]:
    found = read_arrays(path, {"indices": ("iu", 1), "content": ("u", 1), "ends": ("iu", 1)})
    ends = found["ends"]
    if len(ends) != len(found["indices"]) or (np.diff(ends, prepend=0) < 0).any():
        raise DamagedFileError(path, "its arrays do not fit one another")
    return found


def _encoded(pixels: np.ndarray) -> bytes:
    small = Image.fromarray(pixels).resize((SIZE, SIZE), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP" if features.check("webp") else "JPEG", quality=QUALITY)
    return buffer.getvalue()
