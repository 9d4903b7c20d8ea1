"""Superclasses that keep their number from one clustering to the next."""

from __future__ import annotations

import numpy as np
from scipy.optimize import linear_sum_assignment


def matched_numbers(labels: np.ndarray, previous: np.ndarray, num_clusters: int) -> np.ndarray:
    """For each cluster the number it had before, by the largest overlap in all.

    Arguments:
        labels: the clusters of ``n`` members, in ``0..num_clusters-1``, of shape ``(n,)``.
        previous: the clusters of the same members in an earlier clustering. A member whose
            cluster is not in ``0..num_clusters-1`` has no say.

    Returns:
        A permutation of ``0..num_clusters-1``; ``matched_numbers(...)[labels]`` renumbers.

    Example:
        >>> now, before = np.array([0, 0, 1, 1, 2]), np.array([1, 1, 0, 0, 0])
        >>> matched_numbers(now, before, 3)[now].tolist()
        [1, 1, 0, 0, 2]
    """
    known = (previous >= 0) & (previous < num_clusters)
    overlap = np.zeros((num_clusters, num_clusters))
    np.add.at(overlap, (labels[known], previous[known]), 1)
    _, numbers = linear_sum_assignment(overlap, maximize=True)
    return np.asarray(numbers)
