"""Which pictures a command was given: folders, files and lists."""

from __future__ import annotations

import codecs
import os
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from pathlib import Path

from tqdm import tqdm

from ..datasets.folder import search, why_not_read
from ..names import printable
from ..wording import counted

LIST_SUFFIXES = (".txt", ".lst", ".list")
NAMED = 5  # files, in a message
THREADS = 4


class BrokenFilesError(ValueError):
    """Files that were given are missing or not pictures; the message names some."""


@dataclass(frozen=True)
class FoundPictures:
    """Pictures in the order in which they were given, each once.

    Attributes:
        root: the folder that holds them all, absolute.
        paths: relative to it.
        inputs: the folders, files and lists they come from, absolute.
        left_out: files among them that are missing or not pictures.
    """

    root: Path
    paths: tuple[str, ...]
    inputs: tuple[Path, ...]
    left_out: tuple[Path, ...] = ()


def find_pictures(inputs: Sequence[Path], skip_broken: bool | None = False) -> FoundPictures:
    """The pictures in folders and below, in lists, and those given as files.

    Arguments:
        inputs: folders; picture files; text files that name a picture per line, relative to
            themselves.
        skip_broken: leave out what is missing or not a picture, with a warning. ``None`` looks at
            the names alone and says nothing.

    Raises:
        FileNotFoundError: if an input does not exist, or there are no pictures.
        BrokenFilesError: unless ``skip_broken``, for files that are missing or not pictures.
        ValueError: for a list that is not text.
    """
    files: list[Path] = []
    for given in map(_absolute, inputs):
        if given.is_dir():
            files += _in_folder(given, skip_broken is not None)
        elif given.suffix.lower() in LIST_SUFFIXES and given.is_file():
            files += _in_list(given)
        elif given.exists():
            files.append(given)
        else:
            raise FileNotFoundError(f"there is no file or folder {printable(given)}")
    files = list(dict.fromkeys(files))
    broken = {} if skip_broken is None else _broken(files)
    if broken:
        wrong = _what_is_wrong(broken, len(files))
        if not skip_broken:
            raise BrokenFilesError(wrong)
        warnings.warn(f"left out: {wrong}", stacklevel=2)
        files = [file for file in files if file not in broken]
    if not files:
        places = ", ".join(map(printable, inputs))
        raise FileNotFoundError(
            f"there is no picture in {places}: expected folders, files that Pillow can read, or "
            f"text files ({', '.join(LIST_SUFFIXES)}) with the path of a picture per line"
        )
    only = _absolute(inputs[0])
    root = only if len(inputs) == 1 and only.is_dir() else _folder_of_all(files)
    paths = tuple(os.path.relpath(file, root) for file in files)
    return FoundPictures(root, paths, tuple(map(_absolute, inputs)), tuple(broken))


def state_of(file: str | Path) -> list[int] | None:
    """Size and time of a file, which tell later if it was changed; ``None`` if it is not there."""
    try:
        state = os.stat(file)
    except OSError:
        return None
    return [state.st_size, state.st_mtime_ns]


def named(files: Iterable[str | Path]) -> str:
    """The first of some files, for a message, and how many more there are."""
    shown = [printable(file) for file in files]
    more = f" and {len(shown) - NAMED:,} more" if len(shown) > NAMED else ""
    return ", ".join(shown[:NAMED]) + more


def _absolute(path: Path) -> Path:
    return Path(os.path.abspath(path))  # links stay as they were given


def _in_folder(folder: Path, warn: bool) -> list[Path]:
    found = search(folder)
    if found.others and warn:
        warnings.warn(
            f"not used, since they are not pictures: {named(found.others)} "
            f"({counted(len(found.others), 'file')})",
            stacklevel=3,
        )
    if found.unread and warn:
        warnings.warn(
            f"not read: hidden folders, and links to what is read elsewhere: {named(found.unread)}",
            stacklevel=3,
        )
    return found.images


def _in_list(file: Path) -> list[Path]:
    content = file.read_bytes()
    try:
        if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # as PowerShell writes
            text = content.decode("utf-16")
        else:
            text = os.fsdecode(content.removeprefix(codecs.BOM_UTF8))  # of editors on Windows
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:  # as in UTF-16 without its mark, and in files that are not text
        raise ValueError(
            f"{printable(file)} is not a list of pictures in UTF-8 or UTF-16: save it as UTF-8, "
            "with the path of a picture per line"
        )
    return [_listed(file.parent, line) for line in text.splitlines() if line.strip()]


def _listed(folder: Path, line: str) -> Path:
    """The file of a line; blanks at its ends are part of the name if there is such a file."""
    as_given = _absolute(folder / line)
    return as_given if os.path.lexists(as_given) else _absolute(folder / line.strip())


def _broken(files: list[Path]) -> dict[Path, str]:
    """Those that are missing, too large or do not begin as pictures do, with the reasons."""
    with ThreadPool(THREADS) as pool:
        checks = pool.imap(why_not_read, files, chunksize=256)
        bar = tqdm(checks, "checking files", len(files), unit="file", delay=2)
        return {file: why for file, why in zip(files, bar, strict=True) if why is not None}


def _what_is_wrong(broken: Mapping[Path, str], total: int) -> str:
    reasons: dict[str, list[Path]] = {}
    for file, why in broken.items():
        reasons.setdefault(why, []).append(file)
    return "; ".join(
        f"{named(files)}: {why} ({len(files):,} of {counted(total, 'file')})"
        for why, files in reasons.items()
    )


def _folder_of_all(files: Sequence[Path]) -> Path:
    return Path(os.path.commonpath([file.parent for file in files]))
