"""Metrics as pure functions on a block of ranked lists: usable alone, and all that is computed.

Metrics of one level take ``relevance``, ``bool`` of shape ``(num_queries, num_items)``: whether the
item in a column shares the query's class. ``num_relevant``, integers of shape ``(num_queries,)``,
says how many items of the gallery do, found or not; by default, how many in ``relevance``.

Metrics over the hierarchy take ``levels``, integers of the same shape: how many of the ``L`` levels
an item shares with the query, from 0 (nothing) to ``L`` (the same fine class), written ``l(k)``.
``level_counts``, of shape ``(num_queries, L)``, says how many items of the gallery are at exactly
``1, ..., L``, retrieved or not; :func:`count_levels` gives it for whole lists.

By default the columns are the whole list, nearest first. A list may also be given in part, which
is how millions of references stay cheap: ``ranks``, of the same shape and ascending, holds the rank
(from 1) of every column, and the items left out share nothing with the query. Padding columns
share nothing either and are ranked behind the list. ``k``, at least 1, is how many items count.

All return ``float64`` of shape ``(num_queries,)``, one per query, not yet averaged. For a query to
which nothing is related that is NaN, but 0 in ``precision_at_k``, ``recall_at_k`` and
``reciprocal_rank``. All raise ``ValueError`` for ``k`` below 1 and for shapes that do not fit.
"""

from __future__ import annotations

from functools import lru_cache
from numbers import Integral

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = [
    "average_precision", "average_precision_at_r", "average_set_intersection", "count_levels",
    "hierarchical_average_precision", "hierarchical_precision_area", "hierarchical_precision_at_k",
    "mistake_severity", "mistake_severity_at_k", "ndcg", "precision_at_k", "r_precision",
    "recall_at_k", "reciprocal_rank",
]  # fmt: skip


# ------------------------------------------------------------------ one level
def precision_at_k(relevance: Tensor, k: int, ranks: Tensor | None = None) -> Tensor:
    """Share of the ``k`` nearest items that are relevant.

    >>> precision_at_k(torch.tensor([[True, False, True]]), k=2).tolist()
    [0.5]
    """
    return _top(relevance, ranks, k).sum(dim=1).double() / k


def recall_at_k(relevance: Tensor, k: int, ranks: Tensor | None = None) -> Tensor:
    """Whether at least one of the ``k`` nearest items is relevant: the field's hit rate, Recall@K
    of Song et al., "Deep Metric Learning via Lifted Structured Feature Embedding", CVPR 2016.

    >>> recall_at_k(torch.tensor([[False, True], [False, False]]), k=2).tolist()
    [1.0, 0.0]
    """
    return _top(relevance, ranks, k).any(dim=1).double()


def r_precision(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    """Precision at ``R``, the number of relevant items: Musgrave et al., ECCV 2020.

    >>> r_precision(torch.tensor([[True, False, True]])).tolist()
    [0.5]
    """
    relevance, num_relevant, ranks = _first_r(relevance, num_relevant, ranks)
    return relevance.sum(dim=1, dtype=torch.int32).double() / num_relevant


def average_precision_at_r(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    """Sum over the relevant items among the first ``R`` of the precision at their ranks, divided by
    ``R``. Its mean is MAP@R: Musgrave et al., "A Metric Learning Reality Check", ECCV 2020.

    >>> average_precision_at_r(torch.tensor([[False, True, True]])).tolist()
    [0.25]
    """
    return average_precision(*_first_r(relevance, num_relevant, ranks))


def average_precision(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    """Mean over the relevant items of the precision at their ranks. Its mean is MAP: Manning et
    al., "Introduction to Information Retrieval", 2008, section 8.4.

    >>> average_precision(torch.tensor([[True, False, True, False]])).tolist()
    [0.8333333333333333]
    """
    num_relevant = relevance.sum(dim=1) if num_relevant is None else num_relevant
    ranks = _checked(relevance, ranks, num_relevant, ndim=1)
    return _sum_of_precisions(relevance, ranks.double().reciprocal()) / num_relevant


def reciprocal_rank(relevance: Tensor, ranks: Tensor | None = None) -> Tensor:
    """One over the rank of the nearest relevant item; 0 where none was found. Its mean is the MRR:
    Voorhees, TREC-8, 1999.

    >>> reciprocal_rank(torch.tensor([[False, True], [False, False]])).tolist()
    [0.5, 0.0]
    """
    return pad(relevance / _checked(relevance, ranks).double(), (0, 1)).amax(dim=1)


# ------------------------------------------------------------------ the whole hierarchy
def count_levels(levels: Tensor, num_levels: int) -> Tensor:
    """How many items of whole lists are at exactly ``1, ..., num_levels``: the ``level_counts`` of
    the metrics, ``int64`` of shape ``(num_queries, num_levels)``.

    >>> count_levels(torch.tensor([[2, 0, 1, 1]]), num_levels=2).tolist()
    [[2, 1]]
    """
    counts = [(levels == level).sum(dim=1) for level in range(1, num_levels + 1)]
    return torch.stack(counts, dim=1)


def hierarchical_average_precision(
    levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None, alpha: float = 1.0
) -> Tensor:
    """H-AP of Ramzi et al., "Hierarchical Average Precision Training for Pertinent Image Retrieval"
    (HAPPIER), ECCV 2022: the sum over related items ``k`` of ``Hrank(k) / rank(k)``, divided by
    that of ``rel(k)``. ``rel(k)`` is ``(l(k) / L) ** alpha`` / the number of items at this level;
    ``Hrank(k)`` is ``rel(k)`` plus ``min(rel(k), rel(j))`` for each related item ``j`` above it.

    >>> levels = torch.tensor([[1, 2]])
    >>> hierarchical_average_precision(levels, count_levels(levels, 2)).tolist()
    [0.8333333333333334]
    """
    inverse_ranks = _checked(levels, ranks, level_counts).double().reciprocal()
    level = torch.arange(1, level_counts.shape[1] + 1, device=levels.device).double()
    worth = (level / level_counts.shape[1]) ** alpha
    rel = worth / level_counts.clamp(min=1)  # of one item of each level, (queries, L)
    of_item = pad(rel, (1, 0)).gather(1, levels.long())
    # The values of rel are steps, and min(rel(k), rel(j)) is the height of those that both reach:
    # H-AP is a sum over steps of the precisions among the items that reach them, O(items * L).
    steps = pad(rel.sort(dim=1).values, (1, 0))
    total = torch.zeros_like(steps[:, 0])
    for step, height in zip(steps[:, 1:].unbind(1), steps.diff(dim=1).unbind(1), strict=True):
        total += height * _sum_of_precisions(of_item >= step[:, None], inverse_ranks)
    return total / ((level_counts > 0) * worth).sum(dim=1)


def average_set_intersection(
    levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None
) -> Tensor:
    """ASI of Sun et al., "Dynamic Metric Learning" (DyML), CVPR 2021: the mean over ``k = 1..R``,
    where ``R`` items are related, of ``SI@k``: the sum over levels ``v`` of the smaller number of
    items at ``v`` in the top ``k`` and in the ideal top ``k``, which has level ``L`` first, then
    ``L - 1``, and so on; divided by ``k``.

    >>> levels = torch.tensor([[1, 2]])
    >>> average_set_intersection(levels, count_levels(levels, 2)).tolist()
    [0.5]
    """
    ranks = _checked(levels, ranks, level_counts)
    num_relevant = level_counts.sum(dim=1)
    depth = int(num_relevant.max()) if len(levels) else 0
    whole = _whole(levels, ranks, depth)
    k = torch.arange(1, depth + 1, dtype=torch.int32, device=levels.device)
    shared = torch.zeros((len(levels), depth), dtype=torch.int32, device=levels.device)
    before = torch.zeros_like(num_relevant, dtype=torch.int32)[:, None]
    for level in range(level_counts.shape[1], 0, -1):
        here = level_counts[:, level - 1, None].int()
        ideal = (k - before).clamp_(min=0).minimum(here)
        shared += (whole == level).cumsum(dim=1, dtype=torch.int32).minimum(ideal)
        before = before + here
    is_counted = k <= num_relevant[:, None]
    return (shared.double().div_(k) * is_counted).sum(dim=1) / num_relevant


def ndcg(levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None) -> Tensor:
    """Normalised discounted cumulative gain over the whole list: Järvelin & Kekäläinen, "Cumulated
    gain-based evaluation of IR techniques", TOIS 2002, with the exponential gain of Burges et al.,
    ICML 2005: the sum of ``(2 ** l(k) - 1) / log2(1 + rank(k))``, divided by that of the ideal list
    of the whole gallery, not of what was retrieved.

    >>> levels = torch.tensor([[1, 2], [2, 1]])
    >>> [round(value, 6) for value in ndcg(levels, count_levels(levels, 2)).tolist()]
    [0.796708, 1.0]
    """
    ranks = _checked(levels, ranks, level_counts).expand_as(levels)
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


def hierarchical_precision_at_k(
    levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor | None = None
) -> Tensor:
    """HP@k of Deng et al., CVPR 2011, as in Barz & Denzler, "Hierarchy-based Image Embeddings for
    Semantic Image Retrieval", WACV 2019: the sum over the top ``k`` of ``l / L``, which is one
    minus the share of the root's height at which query and item meet, divided by the largest sum
    that a ranking can have. Beyond the list there is nothing to find.

    >>> levels = torch.tensor([[1, 0, 2]])
    >>> hierarchical_precision_at_k(levels, count_levels(levels, 2), k=1).tolist()
    [0.5]
    """
    found = _top(levels, ranks, k, level_counts).sum(dim=1).double()
    return found / _ideal_similarity(level_counts, torch.tensor([k], device=levels.device))[:, 0]


def hierarchical_precision_area(
    levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor | None = None
) -> Tensor:
    """Area under the curve of HP@i for ``i = 1..k``, by trapezoids, divided by ``k - 1`` so that 1
    is perfect (HP@1 for ``k = 1``): the AHP of Barz & Denzler, WACV 2019, who report it for
    ``k = 250``. Their released code divides by ``k``, so that perfect retrieval scores
    ``(k - 1) / k`` there: multiply by that to compare with their tables.

    >>> levels = torch.tensor([[1, 2]])
    >>> hierarchical_precision_area(levels, count_levels(levels, 2), k=2).tolist()
    [0.75]
    """
    ranks = _checked(levels, ranks, level_counts, k)
    ks = torch.arange(1, k + 1, device=levels.device)
    found = _whole(levels, ranks, k).double().cumsum(dim=1)
    curve = found / _ideal_similarity(level_counts, ks)
    return curve[:, 0] if k == 1 else torch.trapezoid(curve, dim=1) / (k - 1)


def mistake_severity(levels: Tensor, level_counts: Tensor, ranks: Tensor | None = None) -> Tensor:
    """Height of the lowest common ancestor of the query and the nearest item, for queries whose
    nearest item is wrong but could be right: 1 (right parent) to ``L``. Bertinetto, CVPR 2020.

    >>> levels = torch.tensor([[2, 1], [1, 2]])
    >>> mistake_severity(levels, count_levels(levels, 2)).tolist()
    [nan, 1.0]
    """
    height = -_top(levels, ranks, 1, level_counts).sum(dim=1).double() + level_counts.shape[1]
    return torch.where((height > 0) & (level_counts[:, -1] > 0), height, torch.nan)


def mistake_severity_at_k(
    levels: Tensor, num_levels: int, k: int, ranks: Tensor | None = None
) -> Tensor:
    """Mean height of the lowest common ancestor of the query and each of the ``k`` nearest items:
    the "hierarchical distance of a top k" of Bertinetto et al., CVPR 2020. Right items count, with
    height 0. Lower is better. ``num_levels`` is ``L``, the height of the root; ``k`` must not be
    larger than the list, since the items beyond it have no height.

    >>> mistake_severity_at_k(torch.tensor([[2, 0]]), num_levels=2, k=2).tolist()
    [1.0]
    """
    if ranks is None and k > levels.shape[1]:
        raise ValueError(f"k={k} is larger than the list of {levels.shape[1]} items")
    return num_levels - _top(levels, ranks, k).sum(dim=1).double() / k


# ------------------------------------------------------------------ what they share
def _checked(
    items: Tensor, ranks: Tensor | None, counts: Tensor | None = None, k: int = 1, ndim: int = 2
) -> Tensor:
    """``ranks``, or those of a whole list, of a shape that broadcasts with ``items``."""
    if isinstance(k, bool) or not isinstance(k, Integral) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")
    if items.ndim != 2:
        raise ValueError(f"expected shape (num_queries, num_items), got {tuple(items.shape)}")
    if counts is not None and (counts.shape[:1] != items.shape[:1] or counts.ndim != ndim):
        name, levels = ("num_relevant", "") if ndim == 1 else ("level_counts", ", num_levels")
        rule = f"{name} must have shape ({len(items)}{levels})"
        raise ValueError(f"{rule} for {len(items)} queries, got shape {tuple(counts.shape)}")
    if ranks is None:
        return torch.arange(1, items.shape[1] + 1, device=items.device)[None]
    if ranks.shape != items.shape:
        wrong = f"ranks must have the shape of the items, {tuple(items.shape)}, got"
        raise ValueError(f"{wrong} {tuple(ranks.shape)}")
    return ranks


def _top(items: Tensor, ranks: Tensor | None, k: int, counts: Tensor | None = None) -> Tensor:
    """The items of the top ``k``, 0 where one was left out."""
    ranks = _checked(items, ranks, counts, k)
    return items[:, :k] * (ranks[:, :k] <= k)  # ranks ascend from 1: no top item is further right


def _first_r(
    relevance: Tensor, num_relevant: Tensor | None, ranks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    num_relevant = relevance.sum(dim=1) if num_relevant is None else num_relevant
    ranks = _checked(relevance, ranks, num_relevant, ndim=1)
    width = int(num_relevant.max()) if len(num_relevant) else 0
    relevance = relevance[:, :width] & (ranks[:, :width] <= num_relevant[:, None].to(ranks.dtype))
    return relevance, num_relevant, ranks[:, :width].expand_as(relevance)


def _sum_of_precisions(relevance: Tensor, inverse_ranks: Tensor) -> Tensor:
    """Sum of the precisions at the relevant items; integer counts are exact and deterministic."""
    found = relevance.cumsum(dim=1, dtype=torch.int32).mul_(relevance)
    return torch.linalg.vecdot(found.double(), inverse_ranks)


def _whole(levels: Tensor, ranks: Tensor, depth: int) -> Tensor:
    """The levels of the first ``depth`` items, 0 where an item was left out."""
    whole = levels.new_zeros((len(levels), depth + 1))
    column = (ranks.expand_as(levels)[:, :depth].long() - 1).clamp(max=depth)
    return whole.scatter_(1, column, levels[:, :depth])[:, :depth]  # the last is dropped


@lru_cache(maxsize=4)
def _discounts(size: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """The discounts of the ranks below ``size`` (0 for rank 0, which is unused) and their sums."""
    discount = 1 / torch.log2(1 + torch.arange(size, dtype=torch.float64, device=device))
    discount[0] = 0
    return discount, discount.cumsum(dim=0)


def _ideal_similarity(level_counts: Tensor, ks: Tensor) -> Tensor:
    """Largest possible sum of levels in the top ``k``, for every query and ``k``."""
    best = torch.zeros(len(level_counts), len(ks), dtype=torch.float64, device=level_counts.device)
    left = ks[None].expand(len(level_counts), -1)
    for level in range(level_counts.shape[1], 0, -1):
        taken = torch.minimum(left, level_counts[:, level - 1, None])
        best += level * taken
        left = left - taken
    return best
