"""The few operations on sets of points that every clusterer needs."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

_ROUNDING = 1e-6  # of the square of a length of 1 in float32
_ROWS_AT_ONCE = 1024
_SAFE_SQUARE = 1e-20  # of a length whose square is no matter to float32


def checked_points(points: Any, name: str) -> np.ndarray:
    """``points`` (array or tensor on any device) as finite ``float32`` of shape ``(n, d)``.

    Raises:
        ValueError: for another number of dimensions, no points, or values that are not finite.
    """
    if isinstance(points, torch.Tensor):
        points = points.detach().float().cpu().numpy()
    array = np.ascontiguousarray(points, dtype=np.float32)
    if array.ndim != 2 or array.size == 0:
        raise ValueError(
            f"{name} must have shape (number of points, dimension) and not be empty, got shape "
            f"{array.shape}"
        )
    # a sum is quick; it is finite unless a value is not, or they are huge
    with np.errstate(over="ignore", invalid="ignore"):
        total = array.sum()
    if not np.isfinite(total) and (bad := ~np.isfinite(array).all(axis=1)).any():
        raise ValueError(
            f"the {name} hold NaN or infinite values and cannot be clustered: row "
            f"{int(np.argmax(bad))} is the first of {int(bad.sum())} such rows"
        )
    return array


def unit_vectors(points: np.ndarray) -> np.ndarray:
    """The direction of each row of ``points``; a row of zeros stays as it is.

    Example:
        >>> unit_vectors(np.array([[3.0, 4.0], [0.0, 0.0]])).tolist()
        [[0.6, 0.8], [0.0, 0.0]]
    """
    squares = np.einsum("ij,ij->i", points, points)  # infinite where a value is huge
    smallest, largest = squares.min(), squares.max()
    if smallest > 1 - _ROUNDING and largest < 1 + _ROUNDING:
        return points  # a clusterer gets directions that its caller has made already
    if smallest > _SAFE_SQUARE and largest < 1 / _SAFE_SQUARE:
        return points / np.sqrt(squares)[:, None]
    # Scaled by the largest entry first: the square of 1e-30 is 0 in float32, that of 1e30 infinite.
    tiny = np.finfo(points.dtype).tiny
    scaled = points / np.maximum(np.abs(points).max(axis=1, keepdims=True), tiny)
    return scaled / np.maximum(np.linalg.norm(scaled, axis=1, keepdims=True), tiny)


def canonical_order(points: np.ndarray) -> np.ndarray:
    """Indices that put the rows of ``points`` into an order that depends on their values alone.

    The numbers of the classes mean nothing, but most algorithms see the order of the points (in
    the random start, at ties). In this order they are the same whatever the numbers are.

    Arguments:
        points: ``float32`` of shape ``(n, d)``.

    Example:
        >>> points = np.array([[2.0, 5.0], [1.0, 9.0]], dtype=np.float32)
        >>> flipped = points[::-1]
        >>> bool((points[canonical_order(points)] == flipped[canonical_order(flipped)]).all())
        True
    """
    # Any order will do, so that of the bits of the first two columns, as one integer: comparing
    # all columns takes as long as the clustering. Rows that agree there are rare.
    first = np.ascontiguousarray(points[:, :2]).view(f"u{4 * min(2, points.shape[1])}")[:, 0]
    order = np.argsort(first)
    if (first[order[1:]] == first[order[:-1]]).any():
        return np.lexsort(points.T[::-1])
    return order


def group_means(points: np.ndarray, assignment: np.ndarray, num_groups: int) -> np.ndarray:
    """The mean of the points of each group.

    Arguments:
        points: floats of shape ``(n, d)``.
        assignment: integers of shape ``(n,)``; every group in ``0..num_groups-1`` must occur.

    Returns:
        Of shape ``(num_groups, d)`` and the dtype of ``points``.

    Example:
        >>> group_means(np.array([[1.0], [3.0], [7.0]]), np.array([0, 0, 1]), 2).tolist()
        [[2.0], [7.0]]
    """
    # Summed in double precision, so that the order of the points is not seen in the means; in
    # parts, which stay in the cache while they are converted.
    sums = torch.zeros(num_groups, points.shape[1], dtype=torch.float64)
    for first in range(0, len(points), _ROWS_AT_ONCE):
        here = slice(first, first + _ROWS_AT_ONCE)
        sums.index_add_(0, torch.tensor(assignment[here]), torch.tensor(points[here]).double())
    counts = np.bincount(assignment, minlength=num_groups)
    return (sums.numpy() / counts[:, None]).astype(points.dtype)
