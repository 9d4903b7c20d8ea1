"""The data sets that ``--dataset`` knows."""

from __future__ import annotations

from difflib import get_close_matches
from pathlib import Path

from benchmarks.datasets import (
    cars196,
    cub,
    folder,
    grocery,
    inaturalist,
    inshop,
    omniglot,
    sop,
)
from benchmarks.datasets.base import LabelledImages, RetrievalData
from benchmarks.datasets.download import fetch
from benchmarks.datasets.glyphs import load_glyphs
from benchmarks.datasets.registry import DatasetEntry, Source, photographic

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "Source",
    "download_dataset",
    "load_dataset",
    "look_at_dataset",
]


def _load_glyphs(source: Source) -> RetrievalData:
    if source.root is not None:
        raise ValueError(
            f"the data set glyphs is rendered, not read: leave --data-root out (got {source.root})"
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
        photographic(
            "Grocery Store: 5,421 photographs of 81 classes", grocery.list_grocery, grocery.LAYOUT
        ),
        DatasetEntry(
            name="omniglot",
            description="32,460 drawings of 1,623 characters of 50 alphabets; its own halves",
            default_folds=(0,),
            needs_root=True,
            load=lambda source: omniglot.load_omniglot(source.root, source.skip_broken),
            layout=omniglot.LAYOUT,
            archives=omniglot.ARCHIVES,
        ),
        photographic(
            "CUB-200-2011: 11,788 photographs of 200 species of birds",
            cub.list_cub,
            cub.LAYOUT,
            cub.ARCHIVES,
        ),
        photographic(
            "Cars196: 16,185 photographs of 196 models",
            cars196.list_cars196,
            cars196.LAYOUT,
            cars196.ARCHIVES,
        ),
        photographic(
            "Stanford Online Products: 120,053 photographs of 22,634 products",
            sop.list_sop,
            sop.LAYOUT,
            sop.ARCHIVES,
        ),
        photographic(
            "In-Shop: 52,712 photographs of 7,982 clothes; queries and gallery apart",
            inshop.list_inshop,
            inshop.LAYOUT,
        ),
        photographic(
            "iNaturalist 2018: 461,939 photographs of 8,142 species in their taxonomy",
            inaturalist.list_inaturalist,
            inaturalist.LAYOUT,
            inaturalist.ARCHIVES,
        ),
        photographic(
            "photographs of your own: superclass/.../class/image", folder.list_folder, folder.LAYOUT
        ),
    )
}


def load_dataset(
    name: str, data_root: Path | None = None, skip_broken: bool = False
) -> RetrievalData:
    """Load a data set by its name.

    Raises:
        ValueError: for an unknown name, or a ``data_root`` that the data set does not need.
        OSError: if the data set is not in ``data_root``, or an image is missing or broken and
            ``skip_broken`` is not set.
    """
    return _find(name).load(Source(data_root, skip_broken))


def look_at_dataset(
    name: str, data_root: Path | None = None, skip_broken: bool = False
) -> LabelledImages:
    """The same as :func:`load_dataset`, but without the features of a frozen network."""
    entry = _find(name)
    return (entry.look or entry.load)(Source(data_root, skip_broken))


def download_dataset(name: str, data_root: Path | None) -> None:
    """Download what of a data set is not in ``data_root`` yet.

    Raises:
        ValueError: if the data set cannot be downloaded, or there is no ``data_root``.
        OSError: if the download fails.
    """
    entry = _find(name)
    if entry.layout is None:
        raise ValueError(f"--download: the data set {name} needs no files")
    if not entry.archives:
        raise ValueError(f"--download: the data set {name} has none. {entry.layout.expected}")
    if data_root is None:
        raise ValueError(f"--download needs a --data-root, the folder to put {name} into")
    fetch(entry.archives, data_root)


def _find(name: str) -> DatasetEntry:
    if name not in DATASETS:
        matches = get_close_matches(name, DATASETS, n=1)
        suggestion = f" Did you mean {matches[0]!r}?" if matches else ""
        raise ValueError(
            f"unknown data set {name!r}.{suggestion} Known data sets: {', '.join(DATASETS)}"
        )
    return DATASETS[name]
