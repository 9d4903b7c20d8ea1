"""Files that are written whole or not at all, and read whole or not at all.

Written by hand, since atomicwrites, the library for this, is no longer maintained.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any
from uuid import uuid4

import numpy as np

from .names import printable

TEMPORARY = ".pmlh-tmp"  # used by no other program, since leftovers are deleted
LEFTOVERS = f"*{TEMPORARY}"  # of processes that were killed while they wrote
NUMBER = (int, float)


class DamagedFileError(ValueError):
    """A file that the suite wrote does not hold what was written; the message names it."""

    def __init__(self, path: Path, reason: object) -> None:
        self.path, self.reason = path, str(reason)
        super().__init__(f"{path} is damaged ({reason})")


def write_whole(path: Path, content: bytes | str) -> None:
    """Write a file; see :func:`written_whole`. What UTF-8 cannot hold becomes an escape.

    What is neither a file nor a folder, such as a pipe or ``/dev/stdout``, is written to directly.
    """
    stays = path.exists() and not (path.is_file() or path.is_dir())
    with _opened_as_it_is(path) if stays else written_whole(path) as file:
        file.write(
            content.encode(errors="backslashreplace") if isinstance(content, str) else content
        )


def check_place(folder: Path, option: str) -> None:
    """Refuse a folder that cannot be made, before any work.

    Arguments:
        folder: there may be none yet.
        option: what asked for it, for the message.

    Raises:
        NotADirectoryError: if it, or one above it, is a file.
    """
    place = next(one for one in (folder, *folder.absolute().parents) if one.exists())
    if not place.is_dir():
        raise NotADirectoryError(f"{option}: {place} is not a folder: choose another place")


def refuse_inputs(option: str, out: Path, inputs: Iterable[Path]) -> None:
    """Refuse to replace what a command reads, before any work.

    Arguments:
        option: that names the file, for the message.
        out: the file to be written.
        inputs: files, and folders whose files are read; pages in them are not.

    Raises:
        FileExistsError: if the file is one of them, or in one of the folders.
    """
    if not out.is_file():
        return
    for one in inputs:
        is_inside = one.is_dir() and out.resolve().is_relative_to(one.resolve())
        if (is_inside and out.suffix != ".html") or (one.is_file() and one.samefile(out)):
            raise FileExistsError(
                f"{option} {printable(out)} would replace what is read from {printable(one)}: "
                "choose another file"
            )


def linked(path: Path) -> Path:
    """Where to write a file that the user named: if that is a link, what it leads to."""
    return path.resolve() if path.is_symlink() else path


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write an ``.npz`` file; see :func:`written_whole`."""
    with written_whole(path) as file:
        np.savez(file, **arrays)  # type: ignore[arg-type]


def write_together(writers: Mapping[Path, Callable[[IO[bytes]], object]]) -> None:
    """Write files that belong together: none of them is replaced before all are on the disk.

    Arguments:
        writers: for each file what writes its content.

    Raises:
        OSError: see :func:`written_whole`.
    """
    with ExitStack() as renamed:
        for path, write in writers.items():
            temporary = renamed.enter_context(_renamed_in_the_end(path))
            with _open_to_the_disk(temporary, path) as file:
                write(file)


@contextmanager
def written_whole(path: Path) -> Iterator[IO[bytes]]:
    """Write beside the target and rename, so that no reader or crash ever finds half a file.

    Raises:
        OSError: if the disk is full or cannot be written to; what was at ``path`` is still there.
    """
    with _renamed_in_the_end(path) as temporary, _open_to_the_disk(temporary, path) as file:
        yield file


@contextmanager
def _renamed_in_the_end(path: Path) -> Iterator[Path]:
    """The name of a file beside ``path``, which takes its place unless there is an error."""
    temporary = path.with_name(f"{path.name}.{uuid4().hex[:12]}{TEMPORARY}")
    try:
        yield temporary
        with _errors_name(path):
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def _open_to_the_disk(temporary: Path, path: Path) -> Iterator[IO[bytes]]:
    """A file whose content is on the disk in the end; errors name ``path``."""
    with _errors_name(path), temporary.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


@contextmanager
def _opened_as_it_is(path: Path) -> Iterator[IO[bytes]]:
    with _errors_name(path), path.open("wb") as file:
        yield file


@contextmanager
def _errors_name(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, f"{error.strerror} while writing", str(path)) from error


def check_members(path: Path) -> None:
    """Compare the checksums of a zip file; ``.npz`` files and PyTorch's checkpoints are zips.

    Neither numpy nor PyTorch compares them all.

    Raises:
        DamagedFileError: if one differs, or the file is not a zip.
        OSError: if there is no such file.
    """
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                bad = archive.testzip()
        except Exception as error:  # what zipfile raises for arbitrary bytes is not documented
            raise DamagedFileError(path, error) from error
    if bad is not None:
        raise DamagedFileError(path, f"the checksum of {bad!r} differs")


def read_arrays(path: Path, kinds: Mapping[str, tuple[str, int]]) -> dict[str, np.ndarray]:
    """Read an ``.npz`` file that :func:`write_arrays` wrote.

    Arguments:
        path: the file.
        kinds: for each array that must be there the kinds of its dtype, as in ``numpy.dtype.kind``,
            and its number of dimensions.

    Raises:
        DamagedFileError: if it cannot be read, or an array is missing or of another kind.
        OSError: if there is no such file.
    """
    check_members(path)
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
    except Exception as error:  # what numpy raises for arbitrary bytes is not documented
        raise DamagedFileError(path, error) from error
    for name, (kind, ndim) in kinds.items():
        if name not in arrays or arrays[name].dtype.kind not in kind or arrays[name].ndim != ndim:
            raise DamagedFileError(path, f"{name!r} is missing or of another shape or type")
    return arrays


def read_json(path: Path, shape: Any) -> Any:
    """Read a JSON file of a known shape; see :func:`mismatch`.

    Raises:
        DamagedFileError: if it is not JSON, or of another shape.
        OSError: if there is no such file.
    """
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise DamagedFileError(path, error) from error
    found = mismatch(content, shape)
    if found:
        raise DamagedFileError(path, found)
    return content


def mismatch(content: Any, shape: Any, name: str = "the content") -> str | None:
    """The first place where plain values differ from a shape; ``None`` if there is none.

    Arguments:
        content: what was read.
        shape: a type or a tuple of types; ``[shape]`` for a list that is not empty; a dict for one
            with at least these keys, where the key ``...`` stands for all other keys.
        name: of the content in the answer.

    Example:
        >>> mismatch({"a": [1, "b"]}, {"a": [int], ...: str})
        'a[1] is a str'
    """
    kind = type(shape) if isinstance(shape, (dict, list)) else shape
    if not isinstance(content, kind) or (isinstance(content, bool) and kind in (int, NUMBER)):
        return f"{name} is a {type(content).__name__}"
    inside: list[tuple[str, Any, Any]] = []
    if isinstance(shape, list):
        if not content:
            return f"{name} is empty"
        inside = [(f"{name}[{i}]", value, shape[0]) for i, value in enumerate(content)]
    elif isinstance(shape, dict):
        missing = [key for key in shape if key is not ... and key not in content]
        if missing:
            return f"{name} has no {missing[0]!r}"
        rest = shape.get(..., object)
        inside = [(str(key), content[key], shape.get(key, rest)) for key in content]
    found = (mismatch(value, part, where) for where, value, part in inside)
    return next(filter(None, found), None)
