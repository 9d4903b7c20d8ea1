"""Proxies -> Hierarchy: discover superclasses by clustering the proxies of the fine classes."""

from __future__ import annotations

from collections.abc import Sequence

import faiss
import numpy as np
import torch

from .hierarchy import Hierarchy

ITERATIONS = 25
RESTARTS = 5  # of the first clustering, which starts from random proxies; the best one is kept


def default_num_superclasses(num_classes: int) -> int:
    """``round(sqrt(num_classes))``, but at least 2: as many superclasses as each has members."""
    return max(2, round(num_classes**0.5))


def check_num_superclasses(num_superclasses: Sequence[int], num_classes: int) -> tuple[int, ...]:
    """Return the sizes of the coarse levels as a tuple, or say what is wrong with them.

    Raises:
        TypeError: if a size is not an integer.
        ValueError: if the sizes do not decrease from ``num_classes``, or one is below 2.
    """
    below = num_classes
    for size in num_superclasses:
        if isinstance(size, bool) or not isinstance(size, (int, np.integer)):
            raise TypeError(f"num_superclasses must be integers, got {size!r}")
        if size < 2:
            raise ValueError(
                f"num_superclasses must be at least 2 (one superclass tells nothing apart), got "
                f"{size}; num_superclasses=() asks for no superclasses at all"
            )
        if size >= below:
            what = "num_classes" if below == num_classes else "the level below it"
            raise ValueError(
                f"num_superclasses must be smaller than {what}: got {size} superclasses for "
                f"{below} classes"
            )
        below = int(size)
    return tuple(int(size) for size in num_superclasses)


def discover(
    proxies: torch.Tensor,
    num_superclasses: Sequence[int],
    spherical: bool = True,
    previous: Hierarchy | None = None,
    seed: int = 0,
) -> Hierarchy:
    """Cluster the proxies of the fine classes into one or more levels of superclasses.

    Each level clusters the centroids of the level below it, so the result is a tree. Equal
    arguments give an equal hierarchy, and no superclass is empty.

    Arguments:
        proxies: floats of shape ``(num_classes, embedding_size)``.
        num_superclasses: the size of each coarse level, decreasing.
        spherical: cluster by direction, for losses that normalise their proxies.
        previous: an earlier hierarchy of the same sizes to start from, so that superclasses keep
            their number from one clustering to the next.
        seed: of the random start when there is no previous hierarchy.

    Example:
        >>> proxies = torch.tensor([[1.0, 0.0], [0.9, 0.1], [0.0, 1.0], [0.1, 0.9]])
        >>> tree = discover(proxies, [2])
        >>> tree.lca_height([0, 0], [1, 2]).tolist()
        [1, 2]
    """
    points = np.ascontiguousarray(proxies.detach().float().cpu().numpy())
    if not np.isfinite(points).all():
        raise ValueError("the proxies hold NaN or infinite values and cannot be clustered")
    columns = [np.arange(len(points))]
    for level, size in enumerate(num_superclasses):
        start = None if previous is None else previous.parents(level)
        assignment = kmeans(points, size, spherical, start, seed)
        columns.append(assignment[columns[-1]])
        points = group_means(points, assignment, size)
    return Hierarchy(np.stack(columns, axis=1))


def kmeans(
    points: np.ndarray,
    num_clusters: int,
    spherical: bool = True,
    start: np.ndarray | None = None,
    seed: int = 0,
) -> np.ndarray:
    """Assign each point to one of ``num_clusters`` clusters by faiss's k-means; none stays empty.

    Arguments:
        points: ``float32`` of shape ``(num_points, dimension)``.
        start: an assignment of shape ``(num_points,)`` whose means are the first centroids.
        seed: of the random start, which is used when ``start`` is ``None``.

    Returns:
        ``int64`` of shape ``(num_points,)``.
    """
    points = points / _norms(points) if spherical else points
    algorithm = faiss.Kmeans(
        points.shape[1],
        num_clusters,
        niter=ITERATIONS,
        nredo=RESTARTS if start is None else 1,
        spherical=spherical,
        seed=seed + 1,  # faiss takes a seed of 0 for "none"
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    centroids = None if start is None else group_means(points, start, num_clusters)
    if centroids is not None and spherical:
        centroids = centroids / _norms(centroids)
    algorithm.train(points, init_centroids=centroids)
    distances, nearest = algorithm.index.search(points, 1)
    if spherical:  # the index is one of inner products there, large for near points
        distances = -distances
    return _fill_empty_clusters(nearest[:, 0].astype(np.int64), distances[:, 0], num_clusters)


def group_means(points: np.ndarray, assignment: np.ndarray, num_groups: int) -> np.ndarray:
    """The mean of the points of each group, of shape ``(num_groups, dimension)``."""
    sums = np.zeros((num_groups, points.shape[1]), dtype=points.dtype)
    np.add.at(sums, assignment, points)
    return sums / np.bincount(assignment, minlength=num_groups)[:, None].astype(points.dtype)


def _norms(points: np.ndarray) -> np.ndarray:
    tiny = np.finfo(points.dtype).tiny
    return np.maximum(np.linalg.norm(points, axis=1, keepdims=True), tiny)


def _fill_empty_clusters(
    assignment: np.ndarray, distances: np.ndarray, num_clusters: int
) -> np.ndarray:
    """Give each empty cluster the point that lies farthest from its own cluster's centroid."""
    sizes = np.bincount(assignment, minlength=num_clusters)
    farthest_first = iter(np.argsort(-distances, kind="stable"))
    for empty in np.flatnonzero(sizes == 0):
        point = next(p for p in farthest_first if sizes[assignment[p]] > 1)
        sizes[assignment[point]] -= 1
        sizes[empty] += 1
        assignment[point] = empty
    return assignment
