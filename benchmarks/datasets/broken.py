"""Images that are missing or cannot be decoded."""

from __future__ import annotations

from collections.abc import Sequence
from multiprocessing.pool import ThreadPool
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from benchmarks.cache import cached_arrays, fingerprint


def open_photograph(file: Path) -> Image.Image:
    """A photograph in RGB.

    Raises:
        OSError: if it cannot be read; names the file.
    """
    try:
        with Image.open(file) as image:
            return image.convert("RGB")
    except Exception as error:  # what the decoders raise is not documented
        raise OSError(f"the image {file} cannot be read ({error})") from error


def what_is_wrong(file: Path) -> str | None:
    """Why a file cannot be read as an image; ``None`` if it can."""
    if not file.is_file():
        return "it does not exist"
    try:
        with Image.open(file) as image:
            image.draft("RGB", (64, 64))  # a JPEG is read to its end, but decoded in small
            image.load()
    except Exception as error:  # what the decoders raise is not documented
        return str(error)
    return None


def find_broken(
    name: str,
    files: Sequence[Path],
    root: Path,
    changing: bool = False,
    cache_dir: Path | None = None,
) -> dict[int, str]:
    """The images that cannot be used, by their index, and why.

    What was decoded once is remembered, since a large data set takes many minutes. What was broken
    is looked at again each time: it may have been mended.

    Arguments:
        name: of the data set, the start of the cache file's name.
        files: the images.
        root: the folder that holds them all.
        changing: see :func:`~benchmarks.cache.fingerprint`.
        cache_dir: ``benchmarks.cache.cache_directory()`` by default.
    """
    broken = {i: "it does not exist" for i, file in enumerate(files) if not file.is_file()}
    present = [i for i in range(len(files)) if i not in broken]
    there = [files[i] for i in present]

    def compute() -> dict[str, np.ndarray]:
        with ThreadPool() as pool:
            reasons = pool.imap(what_is_wrong, there, chunksize=64)
            bar = tqdm(reasons, desc="checking images", unit="image", total=len(there))
            return {"usable": np.array([reason is None for reason in bar], dtype=bool)}

    key = {"files": fingerprint(there, root, changing)}
    usable = cached_arrays(f"{name}-usable", key, compute, cache_dir)["usable"]
    for i in np.flatnonzero(~usable).tolist():
        reason = what_is_wrong(there[i])
        if reason is not None:
            broken[present[i]] = reason
    return dict(sorted(broken.items()))


def broken_error(files: Sequence[Path], broken: dict[int, str]) -> OSError:
    """The error that names a broken image; a ``FileNotFoundError`` if one is missing."""
    gone = [i for i in broken if not files[i].is_file()]
    kind, first = (FileNotFoundError, gone[0]) if gone else (OSError, next(iter(broken)))
    return kind(
        f"{len(broken)} of {len(files)} images cannot be used ({len(gone)} are missing), first "
        f"{files[first]} ({broken[first]}): copy the data set again, or leave them out with "
        "--skip-broken"
    )
