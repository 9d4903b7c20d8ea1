"""What every clusterer has in common: checked input, one order of the points, checked output."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np

from .points import canonical_order, checked_points, unit_vectors


class Clusterer(ABC):
    """Points -> clusters. Subclasses implement :meth:`assign`; users call :meth:`cluster`.

    Example:
        >>> class Halves(Clusterer):
        ...     def assign(self, points, num_clusters, *, spherical, centroids, seed):
        ...         return np.arange(len(points)) * num_clusters // len(points)
        >>> points = np.array([[0.0], [9.0], [1.0], [8.0]], dtype=np.float32)
        >>> Halves().cluster(points, 2, spherical=False).tolist()
        [0, 1, 0, 1]
    """

    #: Whether clusters keep the numbers of the given centroids. Where they do not,
    #: :func:`~pml_hierarchical.clustering.discover` numbers them by their overlap with the
    #: clusters of the last update.
    keeps_numbers: ClassVar[bool] = False

    @abstractmethod
    def assign(
        self,
        points: np.ndarray,
        num_clusters: int,
        *,
        spherical: bool,
        centroids: np.ndarray | None,
        seed: int,
    ) -> Any:
        """The cluster of each point, as :meth:`cluster` returns it.

        Arguments:
            points: ``float32`` of shape ``(n, d)``, unit vectors where ``spherical``. The rows
                are in an order of their own, not in that of the classes.
            num_clusters: in ``2..n``.
            spherical: cluster by direction.
            centroids: ``None``, or ``float32`` of shape ``(num_clusters, d)`` to start from.
            seed: of whatever is random.
        """

    def cluster(
        self,
        points: np.ndarray,
        num_clusters: int,
        *,
        spherical: bool,
        centroids: np.ndarray | None = None,
        seed: int = 0,
    ) -> np.ndarray:
        """Assign each point to one of ``num_clusters`` clusters, none of which is empty.

        The order of the points changes nothing, save which of several equal points goes where.

        Arguments:
            points: floats of shape ``(n, d)``.
            num_clusters: in ``1..n``.
            spherical: cluster by direction; the points need not have unit length.
            centroids: of shape ``(num_clusters, d)``, for a warm start.
            seed: equal seeds give equal clusters.

        Returns:
            ``int64`` of shape ``(n,)``.

        Raises:
            TypeError: if ``num_clusters`` or what the clusterer returns are not integers.
            ValueError: if an argument does not fit, or the clusterer returns another shape, a
                label out of range or an empty cluster.
        """
        points = checked_points(points, "points")
        if isinstance(num_clusters, bool) or not isinstance(num_clusters, (int, np.integer)):
            raise TypeError(f"num_clusters must be an integer, got {num_clusters!r}")
        if not 1 <= num_clusters <= len(points):
            raise ValueError(
                f"num_clusters must be in 1..{len(points)}, the number of points; got "
                f"{num_clusters}"
            )
        if centroids is not None:
            centroids = _checked_centroids(centroids, (num_clusters, points.shape[1]))
        if spherical:
            points = unit_vectors(points)
        order = canonical_order(points)
        labels = np.empty(len(points), dtype=np.int64)
        if num_clusters == 1:
            labels[:] = 0
        else:
            points = points.take(order, axis=0)  # faster than points[order]
            found = self.assign(
                points, num_clusters, spherical=spherical, centroids=centroids, seed=seed
            )
            labels[order] = checked_assignment(found, len(points), num_clusters, repr(self))
        return labels


def checked_assignment(
    found: Any, num_points: int, num_clusters: int, clusterer: str
) -> np.ndarray:
    """What a clusterer returned as an array of integers, or an error that names the clusterer."""
    labels = np.asarray(found)
    wanted = f"integers in 0..{num_clusters - 1} of shape ({num_points},)"
    if labels.shape != (num_points,):
        raise ValueError(f"{clusterer} must return {wanted}, but returned shape {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{clusterer} must return {wanted}, but returned dtype {labels.dtype}")
    if labels.min() < 0 or labels.max() >= num_clusters:
        raise ValueError(
            f"{clusterer} must return {wanted}, but returned labels in "
            f"{labels.min()}..{labels.max()}"
        )
    empty = np.flatnonzero(np.bincount(labels, minlength=num_clusters) == 0)
    if len(empty):
        raise ValueError(
            f"{clusterer} must not leave a cluster empty, but returned no point of cluster "
            f"{empty[0]} ({num_clusters - len(empty)} clusters instead of {num_clusters})"
        )
    return labels.astype(np.int64)


def _checked_centroids(centroids: Any, shape: tuple[int, int]) -> np.ndarray:
    centroids = checked_points(centroids, "centroids")
    if centroids.shape != shape:
        raise ValueError(
            f"centroids must have shape (num_clusters, dimension) = {shape}, got {centroids.shape}"
        )
    return centroids
