"""k-means by faiss, in full or as a single step, with clusters of bounded size if asked."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch

from ..core.superclasses import unit_vectors
from .base import Clusterer
from .nearest import balanced, capacity_of, nearest, nearest_below_capacity

_POINTS_PER_CLUSTER = 256  # more would hardly move the means; faiss's default, too


@dataclass(frozen=True)
class KMeans(Clusterer):
    """faiss's k-means; by direction (spherical k-means) if asked. No cluster stays empty.

    From given centroids it runs once, and clusters keep the numbers of the centroids. Without
    them it starts from the random points of k-means++ ``restarts`` times, and the best result is
    kept. With more than 256 points per cluster, the centroids are computed from a random sample,
    and all points are then assigned to them.

    Arguments:
        iterations: how often the means are recomputed at most; it ends when no point moves.
        restarts: how many random starts are tried where there are no centroids.
        balance: at least 1: no cluster gets more than ``balance`` times its fair share of the
            ``n`` points, rounded up: ``ceil(balance * n / num_clusters)``. ``None`` for no limit.
        warm_iterations: ``iterations`` where centroids are given. Those of the last update are
            close already, and the next update continues where this one ends.
        seed: of the random starts; equal seeds give equal clusters.

    Raises ``ValueError`` if an argument is out of range.

    Example:
        >>> points = np.array([[0.0], [0.1], [0.2], [9.0]], dtype=np.float32)
        >>> sorted(KMeans()(points, 2).bincount().tolist())
        [1, 3]
        >>> KMeans(balance=1)(points, 2).bincount().tolist()
        [2, 2]
    """

    iterations: int = 25
    restarts: int = 5
    balance: float | None = None
    warm_iterations: int = 2
    seed: int = 0
    warm_start: ClassVar[bool] = True

    def __post_init__(self) -> None:
        least = {"iterations": 1, "restarts": 1, "warm_iterations": 1, "seed": 0}
        for name, low in least.items():
            value = getattr(self, name)
            is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
            if not is_integer or not low <= value < 2**31 - 1:
                raise ValueError(f"{name} must be an integer in {low}..2**31-2, got {value!r}")
        is_number = type(x := self.balance) is not bool and isinstance(x, (int, float, np.number))
        if self.balance is not None and not (is_number and 1 <= self.balance < math.inf):
            rule = "None, or a finite number of at least 1 (times its fair share of the points)"
            raise ValueError(f"balance must be {rule}; got {self.balance!r}")

    def assign(
        self, points: np.ndarray, num_clusters: int, centroids: np.ndarray | None, spherical: bool
    ) -> np.ndarray:
        """See :meth:`Clusterer.assign`."""
        from sklearn.cluster import kmeans_plusplus

        random = np.random.RandomState(self.seed)
        sample = _sample(points, _POINTS_PER_CLUSTER * num_clusters, random)
        if centroids is not None:
            iterations, starts = self.warm_iterations, [centroids]
        else:
            # a tenth is enough to start from, and k-means++ is slow
            is_all = len(sample) == len(points)
            few = points if is_all else _sample(sample, len(sample) // 10, random)
            iterations, restarts = self.iterations, range(self.restarts)
            starts = [kmeans_plusplus(few, num_clusters, random_state=random)[0] for _ in restarts]
        runs = [_run(sample, start, iterations, spherical, self.seed) for start in starts]
        assignment = nearest(points, min(runs, key=lambda run: run[0])[1], spherical)
        if self.balance is None:
            return assignment
        capacity = capacity_of(len(points), num_clusters, self.balance)
        return balanced(points, assignment, num_clusters, spherical, capacity)


def _run(
    points: np.ndarray, start: np.ndarray, iterations: int, spherical: bool, seed: int
) -> tuple[float, np.ndarray]:
    """The objective (lower is better) and the centroids that k-means ends with."""
    import faiss

    algorithm = faiss.Kmeans(
        points.shape[1],
        len(start),
        niter=iterations,
        spherical=spherical,
        seed=seed + 1,  # for faiss's splits of empty clusters; to faiss, 0 is "none"
        min_points_per_centroid=1,
        max_points_per_centroid=len(points),
    )
    if spherical:
        start = unit_vectors(torch.from_numpy(start)).numpy()
    algorithm.train(points, init_centroids=start)
    objective = float(np.asarray(algorithm.obj)[-1])
    # where spherical, faiss sums inner products, which are large for near points
    return (-objective if spherical else objective), np.asarray(algorithm.centroids)


def _sample(points: np.ndarray, size: int, random: np.random.RandomState) -> np.ndarray:
    """At most ``size`` of the points."""
    if len(points) <= size:
        return points
    return points[random.choice(len(points), size, replace=False)]


@dataclass(frozen=True)
class KMeansStep(KMeans):
    """The literal step of the paper: every point goes to the nearest given centroid, and no more.

    Where there are no centroids yet, a full :class:`KMeans` runs, with these arguments. A centroid
    without points takes the point that is farthest from its own centroid; with ``balance``,
    points go to the nearest centroid that is not full.

    Example:
        >>> points = np.array([[0.0], [4.0], [6.0]], dtype=np.float32)
        >>> centroids = np.array([[9.0], [3.0]], dtype=np.float32)
        >>> KMeansStep()(points, 2, centroids=centroids).tolist()
        [1, 1, 0]
    """

    def assign(
        self, points: np.ndarray, num_clusters: int, centroids: np.ndarray | None, spherical: bool
    ) -> np.ndarray:
        """See :meth:`Clusterer.assign`."""
        if centroids is None:
            return super().assign(points, num_clusters, None, spherical)
        if self.balance is None:
            return nearest(points, centroids, spherical)
        capacity = capacity_of(len(points), num_clusters, self.balance)
        return nearest_below_capacity(points, centroids, spherical, capacity)
