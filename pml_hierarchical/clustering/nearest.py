"""Points go to their nearest centroid, or to the nearest that is not full; none stays empty."""

from __future__ import annotations

import math

import numpy as np
import torch

from ..core.superclasses import group_means, unit_vectors

ROUNDS = 10  # of assigning points and recomputing means; most settle in fewer


def nearest(points: np.ndarray, centroids: np.ndarray, spherical: bool) -> np.ndarray:
    """The number of the nearest centroid for each point, ``int64`` of shape ``(n,)``.

    A centroid without points takes the point that is farthest from its own centroid.

    Arguments:
        points: ``float32`` of shape ``(n, d)``; unit vectors where ``spherical``.
        centroids: of shape ``(num_clusters, d)``, no more than there are points.
        spherical: only the direction of the centroids counts.
    """
    import faiss

    if spherical:  # among unit vectors the Euclidean distance ranks as the angle does
        centroids = unit_vectors(torch.from_numpy(centroids)).numpy()
    distances, found = faiss.knn(points, np.ascontiguousarray(centroids), 1)
    return _fill_empty(found[:, 0].astype(np.int64), distances[:, 0], len(centroids))


def capacity_of(num_points: int, num_clusters: int, balance: float) -> int:
    """``ceil(balance * num_points / num_clusters)``: the most points that a cluster may hold."""
    # 1.1 * 100 / 10 is a little above 11 in binary, and must not become 12
    fair_share = math.ceil(num_points / num_clusters)
    return max(fair_share, math.ceil(balance * num_points / num_clusters - 1e-9))


def balanced(
    points: np.ndarray, assignment: np.ndarray, num_clusters: int, spherical: bool, capacity: int
) -> np.ndarray:
    """Continue k-means from an assignment until no cluster holds more than ``capacity`` points.

    Arguments:
        points: floats of shape ``(n, d)``; unit vectors where ``spherical``.
        assignment: of shape ``(n,)``, no cluster empty; returned as it is if it fits already.
    """
    if np.bincount(assignment).max() <= capacity:
        return assignment
    for _ in range(ROUNDS):
        before = assignment
        means = group_means(torch.from_numpy(points), torch.from_numpy(before), num_clusters)
        assignment = nearest_below_capacity(points, means.numpy(), spherical, capacity)
        if np.array_equal(assignment, before):
            break
    return assignment


def nearest_below_capacity(
    points: np.ndarray, centroids: np.ndarray, spherical: bool, capacity: int
) -> np.ndarray:
    """As :func:`nearest`, among the centroids that are not full; the nearest points go first.

    All points choose their nearest centroid at once. A centroid that too many points choose keeps
    the nearest of them and is full; the others choose again among the centroids that are not.
    ``num_clusters * capacity`` must be at least ``n``.
    """
    from sklearn.metrics import pairwise_distances

    if spherical:
        centroids = unit_vectors(torch.from_numpy(centroids)).numpy()
    distances = pairwise_distances(points, centroids)
    assignment = np.full(len(points), -1)
    free = np.full(len(centroids), capacity)
    waiting = np.arange(len(points))
    while len(waiting):
        not_full = np.flatnonzero(free)
        chosen = not_full[distances[np.ix_(waiting, not_full)].argmin(axis=1)]
        near_first = np.lexsort((distances[waiting, chosen], chosen))
        waiting, chosen = waiting[near_first], chosen[near_first]
        rank = np.arange(len(chosen)) - np.searchsorted(chosen, chosen)
        kept = rank < free[chosen]
        assignment[waiting[kept]] = chosen[kept]
        free -= np.bincount(chosen[kept], minlength=len(free))
        waiting = waiting[~kept]
    own = distances[np.arange(len(points)), assignment]
    return _fill_empty(assignment, own, len(centroids))


def _fill_empty(assignment: np.ndarray, distances: np.ndarray, num_clusters: int) -> np.ndarray:
    """Give each empty cluster the point farthest from its own centroid, by ``distances``."""
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
