"""Which pictures a command was given: folders, files and lists."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from ..datasets.folder import is_picture, search
from ..names import printable

LIST_SUFFIXES = (".txt", ".lst", ".list")
NAMED = 5  # files, in a message
THREADS = 4


@dataclass(frozen=True)
class FoundPictures:
    """Pictures in the order in which they were given, each once.

    Attributes:
        root: the folder that holds them all, absolute.
        paths: relative to it.
        inputs: the folders, files and lists they come from, absolute.
    """

    root: Path
    paths: tuple[str, ...]
    inputs: tuple[Path, ...]


def find_pictures(
    inputs: Sequence[Path], skip_broken: bool = False, check: bool = True
) -> FoundPictures:
    """The pictures in folders and below, in lists, and those given as files.

    Arguments:
        inputs: folders; picture files; text files that name a picture per line, relative to
            themselves.
        skip_broken: leave out what is missing or no picture, with a warning.
        check: look at the first bytes of each file.

    Raises:
        FileNotFoundError: if an input does not exist, or there are no pictures.
        ValueError: unless ``skip_broken``, for files that are missing or no pictures; names some.
    """
    files: list[Path] = []
    for given in map(_absolute, inputs):
        if given.is_dir():
            files += _in_folder(given)
        elif given.suffix.lower() in LIST_SUFFIXES and given.is_file():
            files += _in_list(given)
        elif given.exists():
            files.append(given)
        else:
            raise FileNotFoundError(f"there is no file or folder {printable(given)}")
    files = list(dict.fromkeys(files))
    if check:
        files = _checked(files, skip_broken)
    if not files:
        places = ", ".join(map(printable, inputs))
        raise FileNotFoundError(
            f"there is no picture in {places}: expected folders, files that Pillow can read, or "
            f"text files ({', '.join(LIST_SUFFIXES)}) with the path of a picture per line"
        )
    only = _absolute(inputs[0])
    root = only if len(inputs) == 1 and only.is_dir() else _folder_of_all(files)
    paths = tuple(os.path.relpath(file, root) for file in files)
    return FoundPictures(root, paths, tuple(map(_absolute, inputs)))


def named(files: Iterable[str | Path]) -> str:
    """The first of some files, for a message, and how many more there are."""
    shown = [printable(file) for file in files]
    more = f" and {len(shown) - NAMED:,} more" if len(shown) > NAMED else ""
    return ", ".join(shown[:NAMED]) + more


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # links stay as they were given


def _in_folder(folder: Path) -> list[Path]:
    found = search(folder)
    if found.others:
        warnings.warn(
            f"{len(found.others):,} files in {printable(folder)} are not used, since they are no "
            f"pictures: {named(found.others)}",
            stacklevel=2,
        )
    return found.images


def _in_list(file: Path) -> list[Path]:
    lines = os.fsdecode(file.read_bytes()).splitlines()
    return [_absolute(file.parent / line) for line in lines if line.strip()]


def _checked(files: list[Path], skip_broken: bool) -> list[Path]:
    with ThreadPool(THREADS) as pool:
        checks = pool.imap(is_picture, files, chunksize=256)
        usable = list(tqdm(checks, "checking files", len(files), unit="file", delay=2))
    broken = [file for file, is_usable in zip(files, usable, strict=True) if not is_usable]
    if broken:
        wrong = f"{len(broken):,} of {len(files):,} files are missing or no pictures"
        if not skip_broken:
            raise ValueError(f"{wrong}: {named(broken)}. Leave them out with --skip-broken")
        warnings.warn(f"{wrong} and are left out: {named(broken)}", stacklevel=3)
    return [file for file, is_usable in zip(files, usable, strict=True) if is_usable]


def _folder_of_all(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))
