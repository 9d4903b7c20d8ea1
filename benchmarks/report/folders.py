"""The folders that a report of several data sets is made from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from ..stored import DATASET_FILE, StoredRuns, read_stored


def read_folders(folders: Sequence[Path]) -> dict[str, StoredRuns]:
    """The runs of every data set in the folders, by the name that the report gives it.

    Arguments:
        folders: of data sets, or folders that hold such (the ``--out`` of ``run``). One that is
            named twice counts once.

    Raises:
        ValueError: if a folder holds no runs.
    """
    unique = dict.fromkeys(found.resolve() for folder in folders for found in expanded(folder))
    stored = [read_stored(folder) for folder in unique]
    counts = Counter(runs.dataset for runs in stored)
    return {
        # the same data set from two places, say with other settings
        runs.dataset
        if counts[runs.dataset] == 1
        else f"{runs.dataset} ({runs.folder.parent})": runs
        for runs in stored
    }


def expanded(folder: Path) -> list[Path]:
    """The folder itself if it is that of a data set, else those of data sets in it.

    Raises:
        ValueError: if there are none.
    """
    if (folder / DATASET_FILE).exists():
        return [folder]
    found = sorted(path.parent for path in folder.glob(f"*/{DATASET_FILE}"))
    if not found:
        raise ValueError(
            f"{folder} holds no runs: expected the folder of a data set, or one with such folders"
        )
    return found
