"""A clustering function of the user's own as a clusterer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from .base import Clusterer


@dataclass(frozen=True)
class FromFunction(Clusterer):
    """``function(points, num_clusters) -> labels``, whatever it does inside.

    Arguments:
        function: takes ``float32`` points of shape ``(n, d)`` (unit vectors where the clustering
            is spherical; in an order of their own) and the number of clusters, and returns
            integers in ``0..num_clusters-1`` of shape ``(n,)``, each at least once. It is not
            asked where every point is a cluster of its own.

    Raises:
        TypeError: if ``function`` cannot be called.

    Example:
        >>> from sklearn.mixture import GaussianMixture
        >>> def mixture(points, num_clusters):
        ...     return GaussianMixture(num_clusters, random_state=0).fit_predict(points)
        >>> points = np.array([[0.0], [0.1], [9.0], [9.1]], dtype=np.float32)
        >>> labels = FromFunction(mixture).cluster(points, 2, spherical=False)
        >>> bool(labels[0] == labels[1] != labels[2] == labels[3])
        True
    """

    function: Callable[[np.ndarray, int], Any]

    def __post_init__(self) -> None:
        if not callable(self.function):
            raise TypeError(
                "function must be a callable (points, num_clusters) -> labels, got "
                f"{self.function!r}"
            )

    def assign(
        self,
        points: np.ndarray,
        num_clusters: int,
        *,
        spherical: bool,
        centroids: np.ndarray | None,
        seed: int,
    ) -> Any:
        """See :meth:`Clusterer.assign`."""
        if num_clusters == len(points):
            return np.arange(num_clusters)
        return self.function(points, num_clusters)

    def __repr__(self) -> str:
        return f"FromFunction({getattr(self.function, '__qualname__', repr(self.function))})"
