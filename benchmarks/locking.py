"""One command at a time in a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout

from .files import LEFTOVERS
from .names import printable

LOCK = ".lock"


@contextmanager
def only_one_in(folder: Path, below: bool = True) -> Iterator[None]:
    """Hold the folder for as long as the context lasts; a process that is killed releases it.

    Files that a killed process left half written are removed.

    Arguments:
        folder: is made if it is missing, and removed after an error if nothing was put into it.
        below: whether leftovers are looked for in the folders below, too.

    Raises:
        OSError: if another process holds it, or it is a file.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError) as error:
        file = next((one for one in (folder, *folder.parents) if one.is_file()), folder)
        raise NotADirectoryError(f"{printable(file)} is a file: choose another --out") from error
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise OSError(
            f"another command is running in {folder}: wait until it is done, or choose another "
            "--out"
        ) from error
    try:
        for leftover in folder.rglob(LEFTOVERS) if below else folder.glob(LEFTOVERS):
            leftover.unlink()
        yield
    except BaseException:
        if is_new:
            _remove_empty(folder)
        raise
    finally:
        lock.release()


def _remove_empty(folder: Path) -> None:
    """Remove a folder that holds nothing but the lock, which this process still holds."""
    if [one.name for one in folder.iterdir()] != [LOCK]:
        return
    (folder / LOCK).unlink()
    with suppress(OSError):  # another process has put something there meanwhile
        folder.rmdir()
