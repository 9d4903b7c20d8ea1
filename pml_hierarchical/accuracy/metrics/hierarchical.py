"""Metrics over the whole hierarchy, as pure functions on a block of ranked lists.

Every function takes ``levels``, integers of shape ``(num_queries, num_items)``: how many of the
``L`` levels an item shares with the query, from 0 (nothing) to ``L`` (the same fine class). This
is the design's ``l(k)``; ``Om_l`` are the items at exactly ``l`` and ``Om+`` those above 0.
``level_counts``, of shape ``(num_queries, L)``, says how many items of the gallery are at exactly
``1, ..., L``, retrieved or not. ``ranks`` is as in :mod:`.flat`: a list may be given in part.

All return ``float64`` of shape ``(num_queries,)``, NaN where a metric is not defined for a query,
as when nothing in the gallery is related to it.
"""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

from .flat import checked_ranks, sum_of_precisions


def count_levels(levels: Tensor, num_levels: int) -> Tensor:
    """How many items of whole lists are at exactly ``1, ..., num_levels``.

    Returns:
        ``int64`` of shape ``(num_queries, num_levels)``, the ``level_counts`` of the metrics.

    Example:
        >>> count_levels(torch.tensor([[2, 0, 1, 1]]), num_levels=2).tolist()
        [[2, 1]]
    """
    counts = [(levels == level).sum(dim=1) for level in range(1, num_levels + 1)]
    return torch.stack(counts, dim=1)


def hierarchical_average_precision(
    levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None, alpha: float = 1.0
) -> Tensor:
    r"""H-AP of Ramzi et al., "Hierarchical Average Precision Training for Pertinent Image
    Retrieval" (HAPPIER), ECCV 2022.

    .. math::
        \frac{\sum_{k \in \Omega^+} Hrank(k) / rank(k)}{\sum_{k \in \Omega^+} rel(k)}, \quad
        Hrank(k) = rel(k) + \sum_{j \in \Omega^+,\, j \prec k} \min(rel(k), rel(j)), \quad
        rel(k) = \frac{(l(k)/L)^\alpha}{|\Omega_{l(k)}|}

    With one level it is the average precision. Cumulative counts per value of rel give it in
    ``O(n L)``.

    Arguments:
        levels: integers of shape ``(num_queries, num_items)``; see the module.
        level_counts: integers of shape ``(num_queries, L)``; see the module.
        ranks: integers of the shape of ``levels``; see the module.
        alpha: how much more a fine match counts than a coarse one.

    Raises:
        ValueError: if the shapes do not fit.

    Example:
        >>> levels = torch.tensor([[1, 2]])
        >>> hierarchical_average_precision(levels, count_levels(levels, 2)).tolist()
        [0.8333333333333334]
    """
    ranks = checked_ranks(levels, ranks)
    check_level_counts(levels, level_counts)
    num_levels = level_counts.shape[1]
    level = torch.arange(1, num_levels + 1, dtype=torch.float64, device=levels.device)
    worth = (level / num_levels) ** alpha
    relevance = worth / level_counts.clamp(min=1)  # of one item of each level, (num_queries, L)
    of_item = torch.nn.functional.pad(relevance, (1, 0)).gather(1, levels.long())
    # With the values of rel as steps, min(rel(k), rel(j)) is the height of the steps that both
    # reach, so that H-AP is a sum over steps of the precisions among the items that reach them.
    # Nothing is larger than the list: the evaluation's pieces are so small that torch needs no
    # threads of its own for them.
    steps = relevance.sort(dim=1).values
    heights = steps.diff(dim=1, prepend=torch.zeros_like(steps[:, :1]))
    inverse_ranks = 1 / ranks.double()
    total = torch.zeros_like(steps[:, 0])
    for step, height in zip(steps.unbind(dim=1), heights.unbind(dim=1), strict=True):
        total += height * sum_of_precisions(of_item >= step[:, None], inverse_ranks)
    return total / ((level_counts > 0) * worth).sum(dim=1)


def average_set_intersection(
    levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None
) -> Tensor:
    r"""ASI of Sun et al., "Dynamic Metric Learning" (DyML), CVPR 2021.

    .. math::
        \frac{1}{R} \sum_{k=1}^{R} SI@k, \quad SI@k = \frac{1}{k} \sum_{v=1}^{L}
        \min(\#v \text{ in the top } k,\ \#v \text{ in the ideal top } k), \quad R = |\Omega^+|

    where the ideal list has the items of level ``L`` first, then those of ``L - 1``, and so on.
    Arguments and errors as in :func:`hierarchical_average_precision`.

    Example:
        >>> levels = torch.tensor([[1, 2]])
        >>> average_set_intersection(levels, count_levels(levels, 2)).tolist()
        [0.5]
    """
    ranks = checked_ranks(levels, ranks).expand_as(levels)
    check_level_counts(levels, level_counts)
    num_relevant = level_counts.sum(dim=1)
    depth = int(num_relevant.max()) if len(levels) else 0
    whole = levels.new_zeros((len(levels), depth + 1))
    column = (ranks[:, :depth].long() - 1).clamp(max=depth)  # the last one is thrown away
    whole.scatter_(1, column, levels[:, :depth])
    k = torch.arange(1, depth + 1, dtype=torch.int32, device=levels.device)
    shared = torch.zeros((len(levels), depth), dtype=torch.int32, device=levels.device)
    before = torch.zeros_like(num_relevant, dtype=torch.int32)[:, None]
    for level in range(level_counts.shape[1], 0, -1):
        here = level_counts[:, level - 1, None].int()
        ideal = (k - before).clamp_(min=0).minimum(here)
        shared += (whole[:, :depth] == level).cumsum(dim=1, dtype=torch.int32).minimum(ideal)
        before = before + here
    is_counted = k <= num_relevant[:, None]
    return (shared.double().div_(k) * is_counted).sum(dim=1) / num_relevant


def ndcg(levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None) -> Tensor:
    r"""Normalised discounted cumulative gain over the whole list: Järvelin & Kekäläinen, "Cumulated
    gain-based evaluation of IR techniques", TOIS 2002, with the exponential gain of Burges et al.,
    ICML 2005.

    .. math:: \frac{DCG}{IDCG}, \quad DCG = \sum_{k} \frac{2^{l(k)} - 1}{\log_2(1 + rank(k))}

    IDCG is the DCG of the ideal list of the whole gallery, not of what was retrieved.
    Arguments and errors as in :func:`hierarchical_average_precision`.

    Example:
        >>> levels = torch.tensor([[1, 2], [2, 1]])
        >>> [round(value, 6) for value in ndcg(levels, count_levels(levels, 2)).tolist()]
        [0.796708, 1.0]
    """
    ranks = checked_ranks(levels, ranks).expand_as(levels)
    check_level_counts(levels, level_counts)
    num_relevant = int(level_counts.sum(dim=1).max()) if len(levels) else 0
    last = max(int(ranks.max()) if ranks.numel() else 0, num_relevant)
    discount, cumulative = _discounts(2 ** last.bit_length(), levels.device)
    found = discount.index_select(0, ranks.reshape(-1)).view(ranks.shape)
    found = torch.exp2(levels.double()).sub_(1).mul_(found).sum(dim=1)
    ideal = torch.zeros_like(found)
    before = torch.zeros_like(level_counts[:, 0])
    for level in range(level_counts.shape[1], 0, -1):
        after = before + level_counts[:, level - 1]
        ideal += (2**level - 1) * (cumulative[after] - cumulative[before])
        before = after
    return found / ideal


@lru_cache(maxsize=4)
def _discounts(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The discounts of the ranks below ``size``, 0 for the rank 0 that is none, and their sums."""
    discount = 1 / torch.log2(1 + torch.arange(size, dtype=torch.float64, device=device))
    discount[0] = 0
    return discount, discount.cumsum(dim=0)


def check_level_counts(levels: Tensor, level_counts: Tensor) -> None:
    """Raise unless there is one row of counts per query."""
    if level_counts.ndim != 2 or len(level_counts) != len(levels):
        raise ValueError(
            f"level_counts must have shape ({len(levels)}, num_levels), one row per query, "
            f"got {tuple(level_counts.shape)}; count_levels gives it for whole lists"
        )
