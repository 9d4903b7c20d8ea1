"""What the command finds in a checkpoint, a run, a model or a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pml_hierarchical import Hierarchy
from pml_hierarchical.clustering import KMeans
from pml_hierarchical.core.superclasses import discover, level_sizes


@dataclass(frozen=True)
class FoundTree:
    """A tree, or proxies that are still to be clustered, and what is known about its classes.

    Attributes:
        tree: ``None`` if there are only proxies.
        vectors: one per fine class, ``(C, dimension)``.
        names: of the fine classes, if the tree has none.
        pictures: WebP files of some classes.
        counts: how many pictures each class has.
        history: the superclasses after each update, ``(updates, levels above the finest, C)``.
        given: the levels that were given.
        title: what the tree belongs to; empty for the name of the file.
        note: where it comes from, in a few words.
    """

    tree: Hierarchy | None = None
    vectors: torch.Tensor | None = None
    names: Sequence[str] | None = None
    pictures: Mapping[int, Any] | None = None
    counts: Sequence[int] | None = None
    history: np.ndarray | None = None
    given: tuple[int, ...] = ()
    title: str = ""
    note: str = ""


def clustered(vectors: torch.Tensor, num_superclasses: Any = "auto") -> Hierarchy:
    """Cluster proxies by their directions with k-means, as the loss does.

    Arguments:
        vectors: floats ``(C, dimension)``.
        num_superclasses: a number; decreasing numbers for several levels; or ``"auto"``, the
            default of the loss.

    Raises:
        ValueError: if there are fewer than three classes or a number does not fit, or the proxies
            hold NaN.
    """
    num_classes = len(vectors)
    if num_superclasses == "auto" and num_classes < 3:
        raise ValueError(f"{num_classes} proxies are too few to cluster: at least 3 are needed")
    sizes, is_given = level_sizes(num_classes, (), num_superclasses)
    table = torch.full((num_classes, len(sizes)), -1)
    table[:, 0] = torch.arange(num_classes)
    return Hierarchy(discover(vectors, table, sizes, is_given, KMeans()))
