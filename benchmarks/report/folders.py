"""The folders that a report of several data sets is made from."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..files import DamagedFileError
from ..names import printable
from ..stored import DATASET_FILE, StoredRuns, read_stored


def read_folders(folders: Sequence[Path]) -> dict[str, StoredRuns]:
    """The runs of every data set in the folders, by the name that the report gives it.

    Arguments:
        folders: of data sets, or folders that hold them (the ``--out`` of ``run``). One that is
            named twice counts once.

    Raises:
        ValueError: if a folder holds no runs, or the files that describe the data sets are all
            damaged. If only some are, their data sets are left out with a warning.
    """
    unique = dict.fromkeys(found.resolve() for folder in folders for found in expanded(folder))
    stored, damaged = [], []
    for folder in unique:
        try:
            stored.append(read_stored(folder))
        except DamagedFileError as error:
            damaged.append(error)
    if not stored:
        raise damaged[0]
    for reason in damaged:
        warnings.warn(f"{reason}: its data set is left out", stacklevel=2)
    # the same data set from two places, say with other settings, is shown with its place
    names = _told_apart([runs.title for runs in stored], [runs.folder.parent for runs in stored])
    names = _told_apart(names, [runs.folder for runs in stored])
    return dict(zip(names, stored, strict=True))


def _told_apart(names: Sequence[str], places: Sequence[Path]) -> list[str]:
    counts = Counter(names)
    return [
        name if counts[name] == 1 else f"{name} ({printable(place)})"
        for name, place in zip(names, places, strict=True)
    ]


def expanded(folder: Path) -> list[Path]:
    """The folder itself if it is that of a data set, else the folders of data sets in it.

    Raises:
        FileNotFoundError: if there is no such folder.
        ValueError: if there are none in it.
    """
    if (folder / DATASET_FILE).exists():
        return [folder]
    if not folder.exists():
        raise FileNotFoundError(
            f"there is no folder {folder}: expected that of a data set, or one with such folders"
        )
    found = sorted(path.parent for path in folder.glob(f"*/{DATASET_FILE}"))
    if not found:
        raise ValueError(
            f"{folder} holds no runs: expected the folder of a data set, or one with such folders"
        )
    return found
