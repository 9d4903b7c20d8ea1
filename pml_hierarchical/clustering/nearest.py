"""Points -> nearest centroids, none of which is left without a point."""

from __future__ import annotations

import faiss
import numpy as np

from .points import unit_vectors


def nearest(points: np.ndarray, centroids: np.ndarray, spherical: bool) -> np.ndarray:
    """The number of the nearest centroid for each point, of shape ``(n,)``.

    A centroid that is nobody's nearest takes the point that is farthest from its own.

    Arguments:
        points: ``float32`` of shape ``(n, d)``; unit vectors where ``spherical``.
        centroids: of shape ``(num_clusters, d)``, no more than there are points.
        spherical: only the direction of the centroids counts.

    Example:
        >>> points = np.array([[0.0], [1.0], [5.0]], dtype=np.float32)
        >>> nearest(points, np.array([[9.0], [0.0]], dtype=np.float32), spherical=False).tolist()
        [1, 1, 0]
        >>> nearest(points, np.array([[99.0], [0.0]], dtype=np.float32), spherical=False).tolist()
        [1, 1, 0]
    """
    if spherical:  # among unit vectors the Euclidean distance ranks as the angle does
        centroids = unit_vectors(centroids)
    distances, found = faiss.knn(points, np.ascontiguousarray(centroids), 1)
    return fill_empty(found[:, 0].astype(np.int64), distances[:, 0], len(centroids))


def fill_empty(assignment: np.ndarray, distances: np.ndarray, num_clusters: int) -> np.ndarray:
    """Give each empty cluster the point that lies farthest from its own centroid.

    Arguments:
        assignment: ``int64`` of shape ``(n,)``; changed in place.
        distances: of shape ``(n,)``, of each point to its own centroid.
        num_clusters: at most ``n``.

    Example:
        >>> fill_empty(np.array([0, 0, 0]), np.array([0.1, 0.9, 0.2]), 2).tolist()
        [0, 1, 0]
    """
    sizes = np.bincount(assignment, minlength=num_clusters)
    if sizes.all():
        return assignment
    farthest_first = iter(np.argsort(-distances, kind="stable"))
    for empty in np.flatnonzero(sizes == 0):
        point = next(p for p in farthest_first if sizes[assignment[p]] > 1)
        sizes[assignment[point]] -= 1
        sizes[empty] += 1
        assignment[point] = empty
    return assignment
