"""Files that are written whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import numpy as np

LEFTOVERS = "*.tmp"  # of processes that were killed while they wrote


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file; see :func:`written_whole`."""
    with written_whole(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` file; see :func:`written_whole`."""
    with written_whole(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Write beside the target and rename, so that neither a reader nor a crash meets half a file.

    Raises:
        OSError: if the disk is full or cannot be written to; what stood at ``path`` is still there.
    """
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} while writing", str(path)) from error
    finally:
        temporary.unlink(missing_ok=True)
