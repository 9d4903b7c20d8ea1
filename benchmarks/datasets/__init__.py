"""The data sets that ``--dataset`` knows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from benchmarks.datasets.base import RetrievalData
from benchmarks.datasets.glyphs import load_glyphs
from benchmarks.datasets.grocery import load_grocery

__all__ = ["DATASETS", "DatasetEntry", "load_dataset"]


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of the registry.

    Attributes:
        name: as in ``--dataset``.
        description: one line for ``python -m benchmarks list``.
        default_folds: the folds of ``split_by_class`` that are run unless others are asked for.
        needs_root: whether it is read from ``--data-root``.
        load: from the data root (``None`` without one) to the data.
    """

    name: str
    description: str
    default_folds: tuple[int, ...]
    needs_root: bool
    load: Callable[[Path | None], RetrievalData]


def _load_glyphs(data_root: Path | None) -> RetrievalData:
    if data_root is not None:
        raise ValueError(
            f"the data set glyphs is rendered, not read: leave --data-root out (got {data_root})"
        )
    return load_glyphs()


DATASETS: dict[str, DatasetEntry] = {
    entry.name: entry
    for entry in (
        DatasetEntry(
            name="glyphs",
            description="19,000 letters of 1,500 characters in matplotlib's fonts; no download",
            default_folds=(0,),
            needs_root=False,
            load=_load_glyphs,
        ),
        DatasetEntry(
            name="grocery",
            description="Grocery Store: 5,421 photographs of 81 classes, as frozen features",
            default_folds=(0, 1, 2, 3),
            needs_root=True,
            load=load_grocery,
        ),
    )
}


def load_dataset(name: str, data_root: Path | None = None) -> RetrievalData:
    """Load a data set by its name.

    Raises:
        ValueError: for an unknown name, or a ``data_root`` that the data set does not need.
        FileNotFoundError: if the data set needs a ``data_root`` and does not find itself there.
    """
    if name not in DATASETS:
        matches = get_close_matches(name, DATASETS, n=1)
        suggestion = f" Did you mean {matches[0]!r}?" if matches else ""
        raise ValueError(
            f"unknown data set {name!r}.{suggestion} Known data sets: {', '.join(DATASETS)}"
        )
    return DATASETS[name].load(data_root)
