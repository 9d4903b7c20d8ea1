"""Arrays that take long to compute, kept on disk between runs.

Not with ``joblib.Memory``, which keys by a function's code and arguments, and pickles: here the key
says what the arrays depend on, and a damaged file is noticed.
"""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from platformdirs import user_cache_path

from .files import DamagedFileError, read_arrays, write_arrays

ENVIRONMENT_VARIABLE = "PML_HIERARCHICAL_CACHE"


def cache_directory() -> Path:
    """Where the benchmarks keep what they computed; the directory need not exist yet.

    ``$PML_HIERARCHICAL_CACHE``, or else ``pml-hierarchical`` in the system's folder for caches:
    ``$XDG_CACHE_HOME`` or ``~/.cache`` on Linux, ``~/Library/Caches`` on macOS.
    """
    if os.environ.get(ENVIRONMENT_VARIABLE):
        return Path(os.environ[ENVIRONMENT_VARIABLE]).expanduser()
    return user_cache_path("pml-hierarchical", appauthor=False)


def made_directory() -> Path:
    """:func:`cache_directory`, made if it is not there.

    Raises:
        OSError: if it cannot be made.
    """
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OSError(
            f"cannot make the cache directory {directory} ({error.strerror}); set the environment "
            f"variable {ENVIRONMENT_VARIABLE} to a directory that you can write to"
        ) from error
    return directory


def fingerprint(files: Sequence[Path], root: Path) -> list[list[Any]]:
    """What tells one list of files from another, as part of a key: paths, sizes and times.

    The times are those of the last change of the content and of the entry in the file system: a
    file that was replaced by another of its size and age has a new one.

    Arguments:
        files: existing files.
        root: the folder that holds them all, which is not part of the result.
    """
    entries: list[list[Any]] = []
    for file in files:
        status = file.stat()
        path = file.relative_to(root).as_posix()
        entries.append([path, status.st_size, status.st_mtime_ns, status.st_ctime_ns])
    return entries


def cached_arrays(
    name: str, key: Mapping[str, Any], compute: Callable[[], dict[str, np.ndarray]]
) -> dict[str, np.ndarray]:
    """What ``compute`` returns, computed once for every ``key``.

    Arguments:
        name: the start of the file's name, for people who look into the directory.
        key: all that the arrays depend on, as values that JSON can hold. Every key has a file of
            its own, so two versions do not overwrite one another.
        compute: returns the arrays by name; object arrays are not supported.

    Returns:
        The arrays by name. A file that cannot be read, or that was written for another key, is
        computed again with a warning.

    Raises:
        OSError: if the directory cannot be made (before anything is computed) or written to.
    """
    digest = hashlib.sha256(json.dumps(key, sort_keys=True).encode()).hexdigest()
    path = made_directory() / f"{name}-{digest[:16]}.npz"
    if path.exists():
        try:
            return _load(path, digest)
        except (DamagedFileError, OSError) as error:
            warnings.warn(
                f"the cached file is unusable and will be computed again: {error}",
                stacklevel=2,
            )
    arrays = compute()
    write_arrays(path, {"key": np.array([digest, *arrays]), **arrays})
    return arrays


def _load(path: Path, digest: str) -> dict[str, np.ndarray]:
    arrays = read_arrays(path, {"key": ("U", 1)})
    found, *names = arrays.pop("key").tolist()
    if found != digest:
        raise DamagedFileError(path, f"it was written for the key {found}, expected {digest}")
    if names != list(arrays):  # a zip may lose members without any checksum differing
        raise DamagedFileError(path, "an array is missing")
    return arrays
