"""Hierarchical precision, on the ``levels`` and ``level_counts`` of :mod:`.hierarchical`."""

from __future__ import annotations

import torch
from torch import Tensor

from .flat import check_k, checked_ranks
from .hierarchical import check_level_counts


def hierarchical_precision_at_k(
    levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor | None = None
) -> Tensor:
    r"""HP@k of Deng et al., CVPR 2011, as in Barz & Denzler, "Hierarchy-based Image Embeddings for
    Semantic Image Retrieval", WACV 2019.

    .. math:: \frac{\sum_{i=1}^{k} s_i}{\max_{\text{rankings}} \sum_{i=1}^{k} s_i}, \quad
        s = 1 - \frac{height(lca)}{height(root)} = \frac{l}{L}

    Arguments:
        levels, level_counts, ranks: as in :func:`hierarchical_average_precision`.
        k: how many items are looked at, at least 1. Beyond the list there is nothing to find.

    Example:
        >>> from pml_hierarchical.accuracy.metrics import count_levels
        >>> levels = torch.tensor([[1, 0, 2]])
        >>> hierarchical_precision_at_k(levels, count_levels(levels, 2), k=1).tolist()
        [0.5]
    """
    check_k(k)
    ranks = checked_ranks(levels, ranks)
    check_level_counts(levels, level_counts)
    top = levels[:, :k] * (ranks[:, :k] <= k)
    ks = torch.tensor([k], device=levels.device)
    return top.sum(dim=1).double() / _ideal_similarity(level_counts, ks)[:, 0]


def hierarchical_precision_area(
    levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor | None = None
) -> Tensor:
    r"""Area under the curve of HP@i for ``i = 1..k``, by trapezoids, scaled so that 1 is perfect:
    the AHP of Barz & Denzler, WACV 2019, who report it for ``k = 250``.

    .. math:: \frac{1}{k - 1} \sum_{i=1}^{k-1} \frac{HP@i + HP@(i+1)}{2}

    (HP@1 for ``k = 1``.) The authors' released code divides by ``k`` instead, so that perfect
    retrieval scores ``(k - 1) / k`` there: multiply by that to compare with their tables.
    Arguments as in :func:`hierarchical_precision_at_k`.

    Example:
        >>> from pml_hierarchical.accuracy.metrics import count_levels
        >>> levels = torch.tensor([[1, 2]])
        >>> hierarchical_precision_area(levels, count_levels(levels, 2), k=2).tolist()
        [0.75]
    """
    check_k(k)
    ranks = checked_ranks(levels, ranks).expand_as(levels)
    check_level_counts(levels, level_counts)
    whole = torch.zeros(len(levels), k + 1, dtype=torch.float64, device=levels.device)
    column = (ranks[:, :k].long() - 1).clamp(max=k)  # the last one is thrown away
    whole.scatter_(1, column, levels[:, :k].double())
    ks = torch.arange(1, k + 1, device=levels.device)
    curve = whole[:, :k].cumsum(dim=1) / _ideal_similarity(level_counts, ks)
    if k == 1:
        return curve[:, 0]
    return torch.trapezoid(curve, dim=1) / (k - 1)


def _ideal_similarity(level_counts: Tensor, ks: Tensor) -> Tensor:
    """Largest possible sum of levels in the top ``k``, for every query and ``k``."""
    best = torch.zeros(len(level_counts), len(ks), dtype=torch.float64, device=level_counts.device)
    left = ks[None].expand(len(level_counts), -1)
    for level in range(level_counts.shape[1], 0, -1):
        taken = torch.minimum(left, level_counts[:, level - 1, None])
        best += level * taken
        left = left - taken
    return best
