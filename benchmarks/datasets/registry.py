"""The entries of the registry of data sets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ..backbones import DEFAULT, GLYPH, BackboneChoice, find_backbone
from ..backbones.choice import EFFICIENTNET_LITE0_NAME
from .base import LabelledImages, RetrievalData
from .download import Archive
from .features import load_photographs, see_drawings
from .layout import Layout
from .photographs import Photographs, usable


@dataclass(frozen=True)
class Source:
    """Where a data set is read from, and how.

    Attributes:
        root: the ``--data-root``, if one was given.
        skip_broken: leave out images that are missing or broken, instead of refusing them.
        backbone: the network of the pictures.
        device: where features of a frozen network are computed.
        all_train: whether the images of the test classes are trained on, too.
        workers: processes that load images for the network; 0 for none but this one.
    """

    root: Path | None = None
    skip_broken: bool = False
    backbone: BackboneChoice = field(default_factory=BackboneChoice)
    device: torch.device | str = "cpu"
    all_train: bool = False
    workers: int = 0


@dataclass(frozen=True)
class DatasetEntry:
    """A data set of the registry.

    Attributes:
        name: as in ``--dataset``.
        description: one line for ``pml-hierarchical list``.
        default_folds: the folds that are run unless others are asked for.
        load: the data with what a network sees of it.
        look: the same without a network, if features take long to compute; by default ``load``.
        layout: what ``--data-root`` holds, for those that need one.
        archives: what ``--download`` fetches; empty where the source does not allow it.
        default_backbone: the network that the choice ``"default"`` stands for.
    """

    name: str
    description: str
    default_folds: tuple[int, ...]
    load: Callable[[Source], RetrievalData]
    look: Callable[[Source], LabelledImages] | None = None
    layout: Layout | None = None
    archives: tuple[Archive, ...] = ()
    default_backbone: str = EFFICIENTNET_LITE0_NAME

    @property
    def needs_root(self) -> bool:
        """Whether it is read from ``--data-root``."""
        return self.layout is not None


def photographic(
    description: str,
    listing: Callable[[Path | None], Photographs],
    layout: Layout,
    archives: tuple[Archive, ...] = (),
) -> DatasetEntry:
    """A data set of photographs, trained on as features of a frozen network or as they are.

    Arguments:
        description: as in :class:`DatasetEntry`.
        listing: from the data root to what the data set's lists say.
        layout: as in :class:`DatasetEntry`; the entry has its name.
        archives: as in :class:`DatasetEntry`.
    """

    def load(source: Source) -> RetrievalData:
        return load_photographs(
            listing(source.root),
            source.skip_broken,
            backbone=find_backbone(source.backbone),
            device=source.device,
            all_train=source.all_train,
            workers=source.workers,
        )

    return DatasetEntry(
        name=layout.name,
        description=f"{description}, as frozen features",
        default_folds=(0, 1, 2, 3),
        load=load,
        look=lambda source: usable(listing(source.root), source.skip_broken),
        layout=layout,
        archives=archives,
    )


def drawn(
    name: str,
    description: str,
    load: Callable[[Source], RetrievalData],
    layout: Layout | None = None,
    archives: tuple[Archive, ...] = (),
) -> DatasetEntry:
    """A data set of small drawings, for the glyph network unless another is chosen.

    Arguments:
        name: as in :class:`DatasetEntry`.
        description: as in :class:`DatasetEntry`.
        load: the drawings in memory, for the glyph network.
        layout: as in :class:`DatasetEntry`.
        archives: as in :class:`DatasetEntry`.
    """

    def load_for_backbone(source: Source) -> RetrievalData:
        if source.backbone.name in (DEFAULT, GLYPH):
            return load(source)
        # mirrored, a b is a d
        backbone = find_backbone(source.backbone, flip=False)
        return see_drawings(
            load(source),
            backbone,
            device=source.device,
            all_train=source.all_train,
            workers=source.workers,
        )

    return DatasetEntry(
        name=name,
        description=description,
        default_folds=(0,),
        load=load_for_backbone,
        look=load,
        layout=layout,
        archives=archives,
        default_backbone=GLYPH,
    )
