"""Metrics of a user's own: methods of a subclass of the calculator, called block by block."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from .catalogue import EVERYTHING, Metric
from .inputs import EvaluationData
from .ranking import RankedBlock

_KEYWORD = "calculate_"  # as in PML


def own_names(calculator: object) -> list[str]:
    """The metrics that a subclass has added."""
    names = (name for name in dir(calculator) if name.startswith(_KEYWORD))
    return [name.removeprefix(_KEYWORD) for name in names]


def own_method(calculator: object, name: str) -> Callable[..., Any]:
    """The method that computes a metric of :func:`own_names`."""
    method: Callable[..., Any] = getattr(calculator, _KEYWORD + name)
    return method


def own_metric(
    calculator: object, name: str, data: EvaluationData, columns: Sequence[int]
) -> Metric:
    """A metric that calls the method with the labels of a block's neighbours.

    Arguments:
        calculator: whose method it is.
        name: of the metric.
        data: where the labels are.
        columns: for every level of the blocks its column among the labels.

    Raises:
        TypeError: when computed, if the method does not return one value per query.
    """
    method = own_method(calculator, name)

    def compute(block: RankedBlock, level: int) -> Tensor:
        assert block.indices is not None
        column, device = columns[level], block.ranks.device
        labels = torch.from_numpy(data.reference_labels[:, column])
        query_labels = torch.from_numpy(data.query_labels[block.start : block.stop, column])
        values = method(
            knn_labels=labels[block.indices.cpu()].to(device),
            query_labels=query_labels.to(device),
            knn_indices=block.indices,
            num_partners=block.num_partners[:, level],
            level=column,
        )
        expected = (block.stop - block.start,)
        if not isinstance(values, Tensor) or values.shape != expected:
            given = f"shape {tuple(values.shape)}" if isinstance(values, Tensor) else repr(values)
            raise TypeError(
                f"calculate_{name} must return a tensor of shape {expected}, one value per query "
                f"of the block, got {given}; the calculator averages"
            )
        return values.double()

    return Metric(compute, lambda _: EVERYTHING)
