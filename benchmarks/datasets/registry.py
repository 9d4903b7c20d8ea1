"""The entries of the registry of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.datasets.base import LabelledImages, RetrievalData
from benchmarks.datasets.download import Archive
from benchmarks.datasets.features import load_photographs
from benchmarks.datasets.layout import Layout
from benchmarks.datasets.photographs import Photographs, usable


@dataclass(frozen=True)
class Source:
    """Where a data set is read from, and how.

    Attributes:
        root: the ``--data-root``, if one was given.
        skip_broken: leave out images that are missing or broken, instead of refusing them.
    """

    root: Path | None = None
    skip_broken: bool = False


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of the registry.

    Attributes:
        name: as in ``--dataset``.
        description: one line for ``python -m benchmarks list``.
        default_folds: the folds that are run unless others are asked for.
        needs_root: whether it is read from ``--data-root``.
        load: the data with what a network sees of it.
        look: the same without, for those whose features take long; by default ``load``.
        layout: what ``--data-root`` holds, for those that need one.
        archives: what ``--download`` fetches; empty where the source does not allow it.
    """

    name: str
    description: str
    default_folds: tuple[int, ...]
    needs_root: bool
    load: Callable[[Source], RetrievalData]
    look: Callable[[Source], LabelledImages] | None = None
    layout: Layout | None = None
    archives: tuple[Archive, ...] = ()


def photographic(
    description: str,
    listing: Callable[[Path | None], Photographs],
    layout: Layout,
    archives: tuple[Archive, ...] = (),
    default_folds: tuple[int, ...] = (0, 1, 2, 3),
) -> DatasetEntry:
    """A data set of photographs, trained on as features of a frozen network.

    Arguments:
        description: as in :class:`DatasetEntry`.
        listing: from the data root to what the data set's lists say.
        layout: as in :class:`DatasetEntry`; the entry has its name.
        archives: as in :class:`DatasetEntry`.
        default_folds: as in :class:`DatasetEntry`.
    """
    return DatasetEntry(
        name=layout.name,
        description=f"{description}, as frozen features",
        default_folds=default_folds,
        needs_root=True,
        load=lambda source: load_photographs(listing(source.root), source.skip_broken),
        look=lambda source: usable(listing(source.root), source.skip_broken),
        layout=layout,
        archives=archives,
    )
