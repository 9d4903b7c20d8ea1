"""Agglomerative clustering by scikit-learn: merge the two nearest clusters until K are left."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from .base import Clusterer

LINKAGES = ("average", "complete", "single", "ward")


@dataclass(frozen=True)
class Agglomerative(Clusterer):
    """Merge the two nearest clusters, starting from single points, until ``num_clusters`` are left.

    The distance is the cosine distance where ``spherical`` or where all points are unit vectors
    (or zero), as with losses that normalise; else the Euclidean distance. Ward's linkage is
    defined only for the Euclidean distance and takes that of the unit vectors. Memory grows with
    the square of the number of points: 1 GB for 11,000.

    Arguments:
        linkage: how the distance of two clusters is defined: ``"average"``, ``"complete"`` or
            ``"single"``, of the distances of their points; or ``"ward"``, the growth of the
            variance inside clusters. ``ValueError`` for another.

    Example:
        >>> points = np.array([[1, 0], [1, 0.1], [0, 1], [0, 9]], dtype=np.float32)
        >>> labels = Agglomerative("complete")(points, 2, spherical=True)
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
    """

    linkage: str = "average"

    def __post_init__(self) -> None:
        if self.linkage not in LINKAGES:
            raise ValueError(f"linkage must be one of {', '.join(LINKAGES)}; got {self.linkage!r}")

    def __call__(
        self, points: Any, num_clusters: int, centroids: Any = None, spherical: bool | None = None
    ) -> torch.Tensor:
        """See :meth:`Clusterer.__call__`; ``None`` means spherical for unit vectors only."""
        if spherical is None:
            lengths = torch.linalg.vector_norm(torch.as_tensor(points).float(), dim=-1)
            spherical = bool((((lengths - 1).abs() < 1e-5) | (lengths == 0)).all())
        return super().__call__(points, num_clusters, centroids, spherical)

    def assign(
        self, points: np.ndarray, num_clusters: int, centroids: np.ndarray | None, spherical: bool
    ) -> np.ndarray:
        """See :meth:`Clusterer.assign`; ``centroids`` are ignored."""
        from sklearn.cluster import AgglomerativeClustering
        from sklearn.metrics.pairwise import cosine_distances

        metric = "euclidean"
        if spherical and self.linkage != "ward":
            # not metric="cosine", which refuses a vector of zeros: the mean of opposite directions
            points, metric = cosine_distances(points), "precomputed"
        algorithm = AgglomerativeClustering(num_clusters, metric=metric, linkage=self.linkage)
        labels: np.ndarray = algorithm.fit_predict(points)
        return labels
