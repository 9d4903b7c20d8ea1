"""Arrays that take long to compute, kept on disk between runs."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from .files import write_arrays

ENVIRONMENT_VARIABLE = "PML_HIERARCHICAL_CACHE"


def cache_directory() -> Path:
    """Where the benchmarks keep what they computed; the directory need not exist yet.

    ``$PML_HIERARCHICAL_CACHE``, or else ``$XDG_CACHE_HOME/pml-hierarchical``, or else
    ``~/.cache/pml-hierarchical``.
    """
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "pml-hierarchical"


def fingerprint(files: Sequence[Path], root: Path, changing: bool = False) -> list[list[Any]]:
    """What tells a list of files from another, as a part of a key: their paths and sizes.

    Arguments:
        files: existing files.
        root: the folder that holds them all, which is no part of it.
        changing: whether files may be replaced by others of their size, as a user's own may; the
            times of their last changes are then a part of it.
    """
    entries: list[list[Any]] = []
    for file in files:
        status = file.stat()
        entry = [file.relative_to(root).as_posix(), status.st_size]
        entries.append([*entry, status.st_mtime_ns] if changing else entry)
    return entries


def cached_arrays(
    name: str,
    key: Mapping[str, Any],
    compute: Callable[[], dict[str, np.ndarray]],
    directory: Path | None = None,
) -> dict[str, np.ndarray]:
    """What ``compute`` returns, computed once for every ``key``.

    Arguments:
        name: the start of the file's name, for people who look into the directory.
        key: all that the arrays depend on, as values that JSON can hold. Every key has a file of
            its own, so two versions do not overwrite one another.
        compute: returns the arrays by name; object arrays are not supported.
        directory: :func:`cache_directory` by default; made if it does not exist.

    Returns:
        The arrays by name. A file that cannot be read, or that was written for another key, is
        computed again with a warning.

    Raises:
        OSError: if the directory cannot be made (before anything is computed) or written to.
    """
    directory = cache_directory() if directory is None else directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the cache directory {directory} ({error.strerror}); set the environment "
            f"variable {ENVIRONMENT_VARIABLE} to a directory that you can write to"
        ) from error
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = directory / f"{name}-{digest[:16]}.npz"
    if path.exists():
        try:
            return _load(path, digest)
        # what numpy and zipfile raise for files that are cut short, overwritten or not theirs
        except (zipfile.BadZipFile, OSError, EOFError, KeyError, RuntimeError, ValueError) as error:
            warnings.warn(
                f"the cache file {path} is unusable and will be computed again: {error}",
                stacklevel=2,
            )
    arrays = compute()
    write_arrays(path, {"key": np.array(digest), **arrays})
    return arrays


def _load(path: Path, digest: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as archive:
        arrays = {name: archive[name] for name in archive.files}
    found = str(arrays.pop("key"))
    if found != digest:
        raise ValueError(f"it was written for the key {found}, expected {digest}")
    return arrays
