"""How bad mistakes are, on the ``levels`` of :mod:`.hierarchical`; lower is better."""

from __future__ import annotations

import torch
from torch import Tensor

from .flat import check_k, checked_ranks


def mistake_severity(levels: Tensor, num_levels: int, ranks: Tensor | None = None) -> Tensor:
    """Height of the lowest common ancestor of query and nearest item, where they differ in class.

    Its mean over the mistakes is the mistake severity of Bertinetto et al., "Making Better
    Mistakes", CVPR 2020: 1 for a wrong class of the right parent, up to ``num_levels`` for a class
    that shares nothing. Lower is better.

    Arguments:
        levels: integers of shape ``(num_queries, num_items)``; see the module.
        num_levels: ``L``, the height of the root.
        ranks: integers of the shape of ``levels``; see the module.

    Returns:
        ``float64`` of shape ``(num_queries,)``, NaN for a query whose nearest item is right.

    Example:
        >>> mistake_severity(torch.tensor([[2, 0], [1, 2], [0, 2]]), num_levels=2).tolist()
        [nan, 1.0, 2.0]
    """
    height = mistake_severity_at_k(levels, num_levels, k=1, ranks=ranks)
    return torch.where(height > 0, height, torch.nan)


def mistake_severity_at_k(
    levels: Tensor, num_levels: int, k: int, ranks: Tensor | None = None
) -> Tensor:
    """Mean height of the lowest common ancestor of the query and each of the ``k`` nearest items.

    The "hierarchical distance of a top k" of Bertinetto et al., CVPR 2020: right items count, with
    height 0. Lower is better. Arguments as in :func:`mistake_severity`; ``k`` must not be larger
    than the list, since the items beyond it have no height.

    Example:
        >>> mistake_severity_at_k(torch.tensor([[2, 0]]), num_levels=2, k=2).tolist()
        [1.0]
    """
    check_k(k)
    if ranks is None and k > levels.shape[1]:
        raise ValueError(f"k={k} is larger than the list of {levels.shape[1]} items")
    ranks = checked_ranks(levels, ranks)
    top = levels[:, :k] * (ranks[:, :k] <= k)
    return num_levels - top.sum(dim=1).double() / k
