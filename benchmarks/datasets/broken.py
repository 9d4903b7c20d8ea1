"""Images that are missing or cannot be decoded, and what the others hold."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from pml_hierarchical.search.pictures import READING_VERSION, read_picture

from ..cache import cached_arrays, fingerprint
from ..names import printable
from ..unreadable import reason_of
from ..wording import counted

DIGEST_BYTES = 16
MISSING = "it does not exist"


def open_photograph(file: Path) -> Image.Image:
    """A photograph in RGB, see :func:`~pml_hierarchical.search.pictures.read_picture`.

    Raises:
        OSError: if it cannot be read; names the file.
    """
    try:
        return read_picture(file.read_bytes())
    except Exception as error:  # what the decoders raise is not documented
        why = reason_of(error)
        raise OSError(f"the image {printable(file)} cannot be read ({why})") from error


def examine(file: Path) -> tuple[str | None, bytes]:
    """Why a file cannot be read as an image (``None`` if it can), and a digest of its content."""
    if not file.is_file():
        return MISSING, bytes(DIGEST_BYTES)
    digest = bytes(DIGEST_BYTES)
    try:
        content = file.read_bytes()
        digest = hashlib.sha256(content).digest()[:DIGEST_BYTES]
        read_picture(content, smallest=64)  # a JPEG is read to its end, but decoded at a small size
    except Exception as error:  # what the decoders raise is not documented
        return reason_of(error), digest
    return None, digest


def examine_all(name: str, files: Sequence[Path], root: Path) -> tuple[dict[int, str], np.ndarray]:
    """The images that cannot be used, by index, with the reasons; and digests of all contents.

    What was examined once is remembered until a file changes, since a large data set takes many
    minutes. What was broken is examined again each time.

    Arguments:
        name: of the data set, the start of the cache file's name.
        files: the images.
        root: the folder that holds them all.

    Returns:
        The reasons, and digests of shape ``(N, 16)``, ``uint8``; a missing file has zeros.
    """
    broken = {i: MISSING for i, file in enumerate(files) if not file.is_file()}
    present = [i for i in range(len(files)) if i not in broken]
    there = [files[i] for i in present]

    def compute() -> dict[str, np.ndarray]:
        with ThreadPool() as pool:
            found = pool.imap(examine, there, chunksize=64)
            bar = tqdm(found, desc="checking images", unit="image", total=len(there))
            reasons, digests = zip(*bar, strict=True) if there else ((), ())
        return {
            "usable": np.array([reason is None for reason in reasons], dtype=bool),
            "digests": np.frombuffer(b"".join(digests), np.uint8).reshape(-1, DIGEST_BYTES),
        }

    key = {"files": fingerprint(there, root), "reading": READING_VERSION}
    known = cached_arrays(f"{name}-usable", key, compute)
    digests = np.zeros((len(files), DIGEST_BYTES), np.uint8)
    digests[present] = known["digests"]
    for i in np.flatnonzero(~known["usable"]).tolist():
        reason, digest = examine(there[i])
        digests[present[i]] = np.frombuffer(digest, np.uint8)
        if reason is not None:
            broken[present[i]] = reason
    return dict(sorted(broken.items())), digests


def broken_error(files: Sequence[Path], broken: dict[int, str], none_left: bool = False) -> OSError:
    """The error that names a broken image; a ``FileNotFoundError`` if one is missing.

    Arguments:
        files: the images.
        broken: see :func:`examine_all`.
        none_left: whether these were left out already, and no others are left.
    """
    gone = [i for i in broken if not files[i].is_file()]
    kind, first = (FileNotFoundError, gone[0]) if gone else (OSError, next(iter(broken)))
    return kind(
        f"{len(broken):,} of {counted(len(files), 'image')} cannot be used ({len(gone)} missing), "
        f"first {printable(files[first])} ({broken[first]}): replace them"
        + ("" if none_left else ", or leave them out with --skip-broken")
    )
