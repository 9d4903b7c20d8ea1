"""The data sets that ``--dataset`` knows."""

from __future__ import annotations

from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path

import torch

from ..backbones import (
    DEFAULT,
    DEFAULT_BACKBONE,
    GLYPH,
    BackboneChoice,
)
from ..backbones.choice import PRETRAINED, RANDOM
from ..backbones.finding import check_cut
from ..backbones.weights import weights_name
from . import (
    cars196,
    cub,
    folder,
    grocery,
    inaturalist,
    inshop,
    omniglot,
    sop,
)
from .base import LabelledImages, RetrievalData
from .download import fetch
from .glyphs import load_glyphs
from .registry import DatasetEntry, Source, drawn, photographic

__all__ = [
    "DATASETS",
    "DatasetEntry",
    "Source",
    "check_backbone",
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
        drawn(
            "glyphs",
            "18,928 images of 1,520 characters in matplotlib's fonts; no download",
            _load_glyphs,
        ),
        photographic(
            "Grocery Store: 5,421 photographs of 81 classes", grocery.list_grocery, grocery.LAYOUT
        ),
        drawn(
            "omniglot",
            "32,460 drawings of 1,623 characters of 50 alphabets; its own halves",
            lambda source: omniglot.load_omniglot(source.root, source.skip_broken),
            omniglot.LAYOUT,
            omniglot.ARCHIVES,
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
    name: str,
    data_root: Path | None = None,
    skip_broken: bool = False,
    backbone: BackboneChoice = DEFAULT_BACKBONE,
    device: torch.device | str = "cpu",
    all_train: bool = False,
    workers: int = 0,
) -> RetrievalData:
    """Load a data set by its name.

    Arguments:
        name: a name in ``DATASETS``.
        data_root: where it is, for those that are read from a folder.
        skip_broken: leave out missing and broken images instead of refusing them.
        backbone: the network that its pictures go through.
        device: where features of a frozen network are computed, if they are not kept from before.
        all_train: whether the images of the test classes are trained on, too.
        workers: processes that load images where features are computed; 0 for none but this one.

    Raises:
        ValueError: for an unknown name, a ``data_root`` that the data set does not need, or a
            backbone that it cannot have.
        OSError: if the data set is not in ``data_root``, an image is missing or broken and
            ``skip_broken`` is not set, or weights cannot be downloaded.
    """
    choice = check_backbone(name, backbone)
    data = _find(name).load(Source(data_root, skip_broken, choice, device, all_train, workers))
    if choice.weights in (PRETRAINED, RANDOM):
        return data
    # the file may be replaced under its name: results with other weights are not of this data
    return replace(data, content=f"{data.content} {weights_name(choice.weights, PRETRAINED)}")


def check_backbone(name: str, choice: BackboneChoice) -> BackboneChoice:
    """Check a choice for a data set before anything is read or downloaded.

    Returns:
        The choice with the network that ``"default"`` stands for.

    Raises:
        FileNotFoundError: if a file of weights is not there.
        ValueError: for an unknown data set or network, or one that the data set cannot have; see
            :func:`~benchmarks.backbones.find_backbone`.
    """
    entry = _find(name)
    if choice.name == DEFAULT:
        choice = replace(choice, name=entry.default_backbone)
    if choice.name != GLYPH:
        check_cut(choice)
    elif entry.default_backbone != GLYPH:
        raise ValueError(
            f"the backbone {GLYPH} is for drawings of 32 x 32, not for the photographs of {name}: "
            f"choose {entry.default_backbone}, torchvision:MODEL or timm:MODEL"
        )
    elif choice.weights not in (PRETRAINED, RANDOM) or choice.crop is not None or choice.trained:
        raise ValueError(
            f"the backbone {GLYPH} starts at random, is always trained as a whole, and takes "
            "drawings as they are: leave --weights FILE, --crop, --train-trunk and --train-from "
            "out, or choose another --backbone"
        )
    return choice


def look_at_dataset(
    name: str, data_root: Path | None = None, skip_broken: bool = False
) -> LabelledImages:
    """The same as :func:`load_dataset`, but without the features of a frozen network."""
    entry = _find(name)
    return (entry.look or entry.load)(Source(data_root, skip_broken))


def download_dataset(name: str, data_root: Path | None) -> None:
    """Download the parts of a data set that are not in ``data_root`` yet.

    Raises:
        ValueError: if the data set cannot be downloaded, or there is no ``data_root``.
        OSError: if the download fails.
    """
    entry = _find(name)
    if entry.layout is None:
        raise ValueError(f"--download: the data set {name} needs no files")
    if not entry.archives:
        raise ValueError(f"--download: {name} has no download. {entry.layout.expected}")
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
