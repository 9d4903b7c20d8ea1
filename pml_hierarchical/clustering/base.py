"""What all clusterers share: checked input, and points in a scale and order fit for clustering."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from ..core.superclasses import unit_vectors


class Clusterer(ABC):
    """Points -> clusters. Subclasses implement :meth:`assign`; users call the object.

    Example:
        >>> class Halves(Clusterer):
        ...     def assign(self, points, num_clusters, centroids, spherical):
        ...         return np.arange(len(points)) * num_clusters // len(points)
        >>> Halves()(torch.tensor([[0.0], [9.0], [1.0], [8.0]]), 2)
        tensor([0, 1, 0, 1])
    """

    #: Whether clustering starts from given centroids and clusters keep their numbers.
    warm_start: ClassVar[bool] = False

    @abstractmethod
    def assign(
        self, points: np.ndarray, num_clusters: int, centroids: np.ndarray | None, spherical: bool
    ) -> Any:
        """The cluster of each point, integers of shape ``(n,)``; no cluster may be empty.

        Arguments:
            points: ``float32`` of shape ``(n, d)``: unit vectors where ``spherical``, else shifted
                and scaled so that no square of a distance overflows. Their order does not depend
                on the order in which they were given.
            num_clusters: in ``2..n``.
            centroids: ``None``, or ``float32`` of shape ``(num_clusters, d)`` to start from.
        """

    def __call__(
        self, points: Any, num_clusters: int, centroids: Any = None, spherical: bool = False
    ) -> Tensor:
        """Assign each point to one of ``num_clusters`` clusters, none of which is empty. The order
        of the points changes nothing, except which of several equal points goes where.

        Arguments:
            points: floats of shape ``(n, d)``; a tensor on any device or an array.
            num_clusters: in ``1..n``.
            centroids: of shape ``(num_clusters, d)``, for a warm start.
            spherical: cluster by direction; the points need not have unit length.

        Returns:
            ``int64`` of shape ``(n,)``, on the CPU.

        Raises ``TypeError`` if ``num_clusters`` is not an integer, and ``ValueError`` if an
        argument does not fit, or values are NaN or infinite.
        """
        x = _checked(points, "points")
        if isinstance(num_clusters, bool) or not isinstance(num_clusters, (int, np.integer)):
            raise TypeError(f"num_clusters must be an integer, got {num_clusters!r}")
        if not 1 <= num_clusters <= len(x):
            rule = f"in 1..{len(x)}, the number of points"
            raise ValueError(f"num_clusters must be {rule}; got {num_clusters}")
        start = None if centroids is None else _checked(centroids, "centroids")
        if start is not None and start.shape != (num_clusters, x.shape[1]):
            rule = f"shape (num_clusters, dimension) = {(num_clusters, x.shape[1])}"
            raise ValueError(f"centroids must have {rule}, got {tuple(start.shape)}")
        labels = torch.zeros(len(x), dtype=torch.int64)
        if num_clusters == 1:
            return labels
        if spherical:
            x, start = _directions(x), None if start is None else _directions(start)
        order = torch.from_numpy(canonical_order(x.numpy()))
        x = x[order]
        if not spherical:
            x, start = _well_scaled(x, start)
        first = None if start is None else start.numpy()
        labels[order] = torch.as_tensor(self.assign(x.numpy(), num_clusters, first, spherical))
        return labels


def canonical_order(points: np.ndarray) -> np.ndarray:
    """Indices that put ``float32`` points ``(n, d)`` in an order that depends only on their values,
    so that random starts and ties do not make the result depend on the class numbering.
    """
    # Any order will do, so we sort by the bits of the first two columns, as one integer: comparing
    # all columns takes as long as the clustering. Rows that agree in those two are rare.
    first = np.ascontiguousarray(points[:, :2]).view(f"u{4 * min(2, points.shape[1])}")[:, 0]
    order = np.argsort(first)
    if (first[order[1:]] == first[order[:-1]]).any():
        return np.lexsort(points.T[::-1])
    return order


def _checked(points: Any, name: str) -> Tensor:
    x = torch.as_tensor(points).detach().to("cpu", torch.float32).contiguous()
    if x.ndim != 2 or x.numel() == 0:
        rule = "shape (number of points, dimension) and not be empty"
        raise ValueError(f"{name} must have {rule}, got shape {tuple(x.shape)}")
    # a sum is quick; it is finite unless a value is not finite or values are huge
    if not x.sum().isfinite() and not x.isfinite().all():
        row = int((~x.isfinite().all(dim=1)).nonzero()[0])
        raise ValueError(f"{name} hold NaN or infinite values (first in row {row})")
    return x


def _directions(points: Tensor) -> Tensor:
    lengths = torch.linalg.vector_norm(points, dim=1)
    # the core passes unit vectors already
    return points if (lengths - 1).abs().max() < 1e-6 else unit_vectors(points)


def _well_scaled(points: Tensor, centroids: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """Shift the mean to 0 and scale by a power of 2, which changes no cluster: in ``float32`` the
    square of 1e20 is infinite, that of 1e-30 is 0, and an offset makes differences lose digits.
    """
    offset = points.double().mean(dim=0)
    both = [x.double() - offset for x in (points, centroids) if x is not None]
    largest = max(float(x.abs().max()) for x in both)
    if largest > 0:
        both = [x * 2.0 ** -int(np.frexp(largest)[1]) for x in both]
    return both[0].float(), both[1].float() if len(both) > 1 else None
