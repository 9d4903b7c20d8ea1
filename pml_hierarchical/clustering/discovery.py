"""Proxies -> Hierarchy: each level clusters the one below it, inside the given classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from ..hierarchy import Hierarchy
from .base import Clusterer
from .choice import get_clusterer
from .numbering import matched_numbers
from .points import checked_points, group_means, unit_vectors
from .sizes import merged_sizes, share_out


def discover(
    proxies: torch.Tensor,
    num_superclasses: Any,
    spherical: bool = True,
    previous: Hierarchy | None = None,
    seed: int = 0,
    *,
    given: Hierarchy | None = None,
    centroids: Sequence[Any] | None = None,
    clusterer: Any = "kmeans",
) -> Hierarchy:
    """Cluster the proxies of the fine classes into one or more levels of superclasses.

    Each level clusters the classes of the level below it, by the means of their proxies, so the
    result is a tree. Where coarse levels are given as well, the discovered ones are put between
    them by their size, and no discovered superclass crosses a given class above it: that class is
    clustered by itself, and the number of clusters is shared out in proportion to the sizes of the
    given classes. Equal arguments give an equal hierarchy, no superclass is empty, and numbering
    the fine classes otherwise gives the same superclasses.

    Arguments:
        proxies: floats of shape ``(num_classes, embedding_size)``.
        num_superclasses: the sizes of the levels to discover, decreasing (maybe none), or
            ``"auto"``; see :func:`~pml_hierarchical.clustering.check_num_superclasses`.
        spherical: cluster by direction, for losses that normalise their proxies.
        previous: the hierarchy of the last update, of the same sizes, so that superclasses keep
            their number from one clustering to the next.
        seed: of the random start when there is no previous hierarchy.
        given: a hierarchy of the same fine classes whose coarse levels stay as they are.
        centroids: for every coarse level of the result the coarse proxies in use, of shape
            ``(sizes[level], embedding_size)``, or ``None``: where k-means starts. Where there are
            none, it starts from the means of the superclasses in ``previous``.
        clusterer: see :func:`~pml_hierarchical.clustering.get_clusterer`.

    Raises:
        TypeError: if a size is not an integer, or for something that is no clusterer.
        ValueError: for sizes that do not fit each other, NaN or infinite proxies, a ``given`` or
            ``previous`` hierarchy or ``centroids`` of other sizes, or a clusterer's bad answer.

    Example:
        >>> proxies = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9], [0.3, 0.9]])
        >>> tree = discover(proxies, [2])
        >>> tree.lca_height([0, 0], [1, 2]).tolist()
        [1, 2]
        >>> catalogue = Hierarchy.from_parents([[0, 0, 1, 1, 1]])
        >>> discover(proxies, [3], given=catalogue).class_labels.tolist()
        [[0, 0, 0], [1, 0, 0], [2, 1, 1], [3, 1, 1], [4, 2, 1]]
    """
    points = checked_points(proxies, "proxies")
    method = get_clusterer(clusterer)
    given = _checked_given(given, len(points))
    sizes, is_given = merged_sizes(len(points), given.sizes[1:], num_superclasses)
    if previous is not None and previous.sizes != sizes:
        raise ValueError(f"previous must have the sizes {sizes}, got {previous}")
    starts = _checked_starts(centroids, sizes, points.shape[1])
    if all(is_given):
        return given
    if spherical:
        points = unit_vectors(points)
    table = np.empty((len(points), len(sizes)), dtype=np.int64)
    table[:, np.array(is_given)] = given.class_labels
    for level in np.flatnonzero(~np.array(is_given)):
        above = next((i for i in range(level, len(sizes)) if is_given[i]), None)
        group = np.zeros(len(points), dtype=np.int64) if above is None else table[:, above]
        before = None if previous is None else previous.class_labels[:, level]
        start = starts[level]
        if start is None and before is not None:
            start = group_means(points, before, sizes[level])
        table[:, level] = _cluster_level(
            points, table[:, level - 1], group, sizes[level], method, spherical, start, before, seed
        )
    return Hierarchy(table)


def _cluster_level(
    points: np.ndarray,
    below: np.ndarray,
    group: np.ndarray,
    size: int,
    method: Clusterer,
    spherical: bool,
    start: np.ndarray | None,
    before: np.ndarray | None,
    seed: int,
) -> np.ndarray:
    """The superclass of each fine class at one level; clusters are numbered group by group."""
    group_of_node = np.empty(below.max() + 1, dtype=np.int64)
    group_of_node[below] = group
    is_finest = len(group_of_node) == len(points)  # each class is its own mean
    nodes = points if is_finest else group_means(points, below, len(group_of_node))
    shares = share_out(size, np.bincount(group_of_node))
    column = np.empty(len(points), dtype=np.int64)
    for number, (share, offset) in enumerate(zip(shares, np.cumsum(shares) - shares, strict=True)):
        labels = np.empty(len(nodes), dtype=np.int64)
        # a slice where all are one group: copying a million proxies takes its time
        members = slice(None) if len(shares) == 1 else np.flatnonzero(group_of_node == number)
        labels[members] = method.cluster(
            nodes[members],
            int(share),
            spherical=spherical,
            centroids=None if start is None else start[offset : offset + share],
            seed=seed,
        )
        fine = np.flatnonzero(group == number)
        found = labels[below[fine]]
        if before is not None and not method.keeps_numbers:
            found = matched_numbers(found, before[fine] - offset, int(share))[found]
        column[fine] = found + offset
    return column


def _checked_given(given: Hierarchy | None, num_classes: int) -> Hierarchy:
    if given is None:
        return Hierarchy.flat(num_classes)
    if not isinstance(given, Hierarchy):
        raise TypeError(f"given must be a Hierarchy, got {type(given).__name__}")
    if given.num_classes != num_classes:
        raise ValueError(
            f"given has {given.num_classes} fine classes, but there are {num_classes} proxies"
        )
    return given


def _checked_starts(
    centroids: Sequence[Any] | None, sizes: tuple[int, ...], dimension: int
) -> list[np.ndarray | None]:
    """The centroids to start from for every level; none at the finest."""
    if centroids is None:
        return [None] * len(sizes)
    if len(centroids) != len(sizes) - 1:
        raise ValueError(
            f"centroids must hold one entry (or None) for each of the {len(sizes) - 1} coarse "
            f"levels, got {len(centroids)}"
        )
    starts: list[np.ndarray | None] = [None]
    for level, start in enumerate(centroids, start=1):
        if start is not None:
            start = checked_points(start, f"centroids of level {level}")
            if start.shape != (sizes[level], dimension):
                raise ValueError(
                    f"centroids of level {level} must have shape {(sizes[level], dimension)}, got "
                    f"{start.shape}"
                )
        starts.append(start)
    return starts
