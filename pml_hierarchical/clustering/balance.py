"""Clusters of bounded size: k-means in which a full cluster takes no more points."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import pairwise_distances

from .nearest import fill_empty
from .points import group_means, unit_vectors

ROUNDS = 10  # of assigning points and recomputing means; most settle in fewer


def capacity_of(num_points: int, num_clusters: int, balance: float) -> int:
    """``ceil(balance * num_points / num_clusters)``: the most points that a cluster may hold.

    Example:
        >>> capacity_of(10, 4, balance=1.0), capacity_of(100, 10, balance=1.1)
        (3, 11)
    """
    # 1.1 * 100 / 10 is a little above 11 in binary, and must not become 12
    fair_share = math.ceil(num_points / num_clusters)
    return max(fair_share, math.ceil(balance * num_points / num_clusters - 1e-9))


def balanced(
    points: np.ndarray, assignment: np.ndarray, num_clusters: int, spherical: bool, capacity: int
) -> np.ndarray:
    """Carry k-means on from an assignment until no cluster holds more than ``capacity`` points.

    Arguments:
        points: floats of shape ``(n, d)``; unit vectors where ``spherical``.
        assignment: of shape ``(n,)``, no cluster empty. Where it keeps to the capacity already, it
            is returned as it is.

    Example:
        >>> points = np.array([[0.0], [1.0], [2.0], [9.0]], dtype=np.float32)
        >>> balanced(points, np.array([0, 0, 0, 1]), 2, spherical=False, capacity=2).tolist()
        [0, 0, 1, 1]
    """
    if np.bincount(assignment).max() <= capacity:
        return assignment
    for _ in range(ROUNDS):
        before = assignment
        means = group_means(points, assignment, num_clusters)
        assignment = nearest_with_room(points, means, spherical, capacity)
        if np.array_equal(assignment, before):
            break
    return assignment


def nearest_with_room(
    points: np.ndarray, centroids: np.ndarray, spherical: bool, capacity: int
) -> np.ndarray:
    """Assign each point to the nearest centroid that has room; the nearest points go first.

    All points ask their nearest centroid at once. One that more points ask for than it has room
    takes the nearest of them and is full; those that it turned away ask the nearest of the others.

    Arguments:
        points: floats of shape ``(n, d)``; unit vectors where ``spherical``.
        centroids: of shape ``(num_clusters, d)``; ``num_clusters * capacity`` is at least ``n``.

    Returns:
        ``int64`` of shape ``(n,)``; no cluster is empty.
    """
    if spherical:
        centroids = unit_vectors(centroids)
    distances = pairwise_distances(points, centroids)
    assignment = np.full(len(points), -1)
    room = np.full(len(centroids), capacity)
    waiting = np.arange(len(points))
    while len(waiting):
        has_room = np.flatnonzero(room)
        asked = has_room[distances[np.ix_(waiting, has_room)].argmin(axis=1)]
        near_first = np.lexsort((distances[waiting, asked], asked))
        waiting, asked = waiting[near_first], asked[near_first]
        rank = np.arange(len(asked)) - np.searchsorted(asked, asked)
        taken = rank < room[asked]
        assignment[waiting[taken]] = asked[taken]
        room -= np.bincount(asked[taken], minlength=len(room))
        waiting = waiting[~taken]
    own = distances[np.arange(len(points)), assignment]
    return fill_empty(assignment, own, len(centroids))
