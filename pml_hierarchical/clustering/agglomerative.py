"""Agglomerative clustering by scikit-learn: merge the two nearest clusters until K are left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sklearn.cluster import AgglomerativeClustering
from sklearn.metrics.pairwise import cosine_distances

from .base import Clusterer

LINKAGES = ("average", "complete", "single", "ward")


@dataclass(frozen=True)
class Agglomerative(Clusterer):
    """Merge the two nearest clusters, from single points on, until ``num_clusters`` are left.

    The distance is the cosine distance where the clustering is spherical, else the Euclidean one.
    Ward's linkage is defined for the Euclidean distance alone: it takes the Euclidean distance of
    the unit vectors where the clustering is spherical. Memory grows with the square of the number
    of points: 1 GB for 11,000.

    Arguments:
        linkage: what the distance of two clusters is: ``"average"``, ``"complete"`` or
            ``"single"``, of the distances of their points; or ``"ward"``, the growth of the
            variance inside clusters.

    Raises:
        ValueError: for another linkage.

    Example:
        >>> points = np.array([[1, 0], [1, 0.1], [0, 1], [0, 9]], dtype=np.float32)
        >>> labels = Agglomerative("complete").cluster(points, 2, spherical=True)
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
    """

    linkage: str = "average"

    def __post_init__(self) -> None:
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage must be one of {', '.join(LINKAGES)}; got {self.linkage!r}")

    def assign(
        self,
        points: np.ndarray,
        num_clusters: int,
        *,
        spherical: bool,
        centroids: np.ndarray | None,
        seed: int,
    ) -> np.ndarray:
        """See :meth:`Clusterer.assign`; there is no use for ``centroids`` and ``seed``."""
        metric = "euclidean"
        if spherical and self.linkage != "ward":
            # not metric="cosine", which refuses a vector of zeros: the mean of opposite directions
            points, metric = cosine_distances(points), "precomputed"
        algorithm = AgglomerativeClustering(num_clusters, metric=metric, linkage=self.linkage)
        labels: np.ndarray = algorithm.fit_predict(points)
        return labels
