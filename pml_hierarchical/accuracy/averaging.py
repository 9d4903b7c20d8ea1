"""Means over the queries that never hold more than a sum."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class StreamingMean:
    """Mean of values that arrive in blocks, over all of them or class by class.

    Arguments:
        num_classes: how many classes there are, or ``None`` for the plain mean.
        device: where the sums are kept.

    Example:
        >>> mean = StreamingMean(2, torch.device("cpu"))
        >>> mean.update(torch.tensor([1.0, 0.0, 4.0]), torch.tensor([0, 0, 1]))
        >>> mean.per_class(), mean.value()
        ([0.5, 4.0], 2.25)
    """

    def __init__(self, num_classes: int | None, device: torch.device) -> None:
        size = 1 if num_classes is None else num_classes
        self._by_class = num_classes is not None
        self._sums = torch.zeros(size, dtype=torch.float64, device=device)
        self._counts = torch.zeros(size, dtype=torch.float64, device=device)

    def update(self, values: Tensor, classes: Tensor) -> None:
        """Add values of shape ``(queries,)`` with their classes; NaN values do not count."""
        valid = ~values.isnan()
        values = values[valid].double()
        if self._by_class:
            classes = classes[valid].long()
            self._sums.index_add_(0, classes, values)
            self._counts += classes.bincount(minlength=len(self._counts))
        else:
            self._sums += values.sum()
            self._counts += len(values)

    def per_class(self) -> list[float]:
        """The mean of every class that has a value, in the order of the classes."""
        seen = self._counts > 0
        return (self._sums[seen] / self._counts[seen]).tolist()

    def value(self) -> float:
        """The mean of the values, or of the means of the classes; NaN if there are none."""
        means = self.per_class()
        return math.fsum(means) / len(means) if means else math.nan
