"""Data sets of image files: what their lists say, and which of the files can be used."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from ..names import printable
from .base import LabelledImages
from .broken import broken_error, examine_all, open_photograph
from .classes import keep_images, number_classes


@dataclass(frozen=True, kw_only=True)
class Photographs(LabelledImages):
    """The files of a data set with their classes; nothing is opened until it is asked for.

    Attributes:
        files: one per image.
        root: the folder that holds them all.
        digests: ``uint8`` of shape ``(N, 16)``, of what the files hold; ``None`` before they are
            read by :func:`usable`.
    """

    files: tuple[Path, ...]
    root: Path
    digests: np.ndarray | None = field(default=None, repr=False)


def list_photographs(
    name: str,
    root: Path,
    files: Sequence[Path],
    paths: Sequence[tuple[str, ...]],
    level_names: tuple[str, ...],
    test_half: np.ndarray | None = None,
    gallery: np.ndarray | None = None,
) -> Photographs:
    """Put together what a data set's lists say.

    Arguments:
        name: as in ``--dataset``.
        root: the folder that holds all files.
        files: one per image.
        paths: for each image its classes, the coarsest first.
        level_names: the finest first.
        test_half, gallery: see :class:`~benchmarks.datasets.base.LabelledImages`.

    Raises:
        ValueError: if there is no file.
    """
    if not files:
        raise ValueError(f"the lists of the data set {name} in {root} name no image")
    labels, class_names = number_classes(paths)
    return Photographs(
        name=name,
        labels=labels,
        level_names=level_names,
        class_names=class_names,
        picture=lambda i: open_photograph(files[i]),
        test_half=test_half,
        gallery=gallery,
        files=tuple(files),
        root=root,
    )


def usable(photographs: Photographs, skip_broken: bool = False) -> Photographs:
    """The photographs, all of which can be read.

    Arguments:
        photographs: as the lists say.
        skip_broken: leave out those that are missing or broken, and note them in ``left_out``.

    Raises:
        OSError: unless ``skip_broken``, for a broken image, which is named; a
            ``FileNotFoundError`` for a missing one.
        ValueError: if no image is left.
    """
    files = photographs.files
    broken, digests = examine_all(photographs.name, files, photographs.root)
    if not broken:
        return replace(photographs, digests=digests, content=_content(digests))
    if not skip_broken:
        raise broken_error(files, broken)
    if len(broken) == len(files):
        raise ValueError(f"no image is left: {broken_error(files, broken, none_left=True)}")
    kept = np.ones(len(files), dtype=bool)
    kept[list(broken)] = False
    remaining = tuple(file for file, keep in zip(files, kept, strict=True) if keep)
    labels, class_names = keep_images(kept, photographs.labels, photographs.class_names)
    return replace(
        photographs,
        files=remaining,
        labels=labels,
        class_names=class_names,
        picture=lambda i: open_photograph(remaining[i]),
        test_half=None if photographs.test_half is None else photographs.test_half[kept],
        gallery=None if photographs.gallery is None else photographs.gallery[kept],
        left_out=(*photographs.left_out, *(printable(files[i]) for i in broken)),
        digests=digests[kept],
        content=_content(digests[kept]),
    )


def _content(digests: np.ndarray) -> str:
    return hashlib.sha256(digests.tobytes()).hexdigest()
