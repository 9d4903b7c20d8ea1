"""Retrieval metrics at one level, as pure functions on a block of ranked lists.

Every function takes ``relevance`` of shape ``(num_queries, num_items)``: whether the item in a
column shares the query's class. By default the columns are the whole list, nearest first. A list
may also be given in part, which is how millions of references stay cheap: ``ranks``, of the same
shape and ascending, holds the rank (from 1) of every column, and the items left out count as
irrelevant. Padding columns are irrelevant and ranked behind the list.

All return ``float64`` of shape ``(num_queries,)``, one value per query, not yet averaged.
"""

from __future__ import annotations

import torch
from torch import Tensor


def precision_at_k(relevance: Tensor, k: int, ranks: Tensor | None = None) -> Tensor:
    """Share of the ``k`` nearest items that are relevant.

    Arguments:
        relevance: ``bool`` of shape ``(num_queries, num_items)``; see the module.
        k: how many items are looked at, at least 1.
        ranks: integers of the shape of ``relevance``; see the module.

    Raises:
        ValueError: if ``k`` is not positive or the shapes do not fit.

    Example:
        >>> precision_at_k(torch.tensor([[True, False, True]]), k=2).tolist()
        [0.5]
    """
    check_k(k)
    ranks = checked_ranks(relevance, ranks)
    return _relevant_until(relevance[:, :k], ranks[:, :k], k).sum(dim=1).double() / k


def recall_at_k(relevance: Tensor, k: int, ranks: Tensor | None = None) -> Tensor:
    r"""Whether at least one of the ``k`` nearest items is relevant: the field's hit rate.

    The :math:`Recall@K` of Song et al., "Deep Metric Learning via Lifted Structured Feature
    Embedding", CVPR 2016. Arguments and errors as in :func:`precision_at_k`.

    Example:
        >>> recall_at_k(torch.tensor([[False, True], [False, False]]), k=2).tolist()
        [1.0, 0.0]
    """
    check_k(k)
    ranks = checked_ranks(relevance, ranks)
    return _relevant_until(relevance[:, :k], ranks[:, :k], k).any(dim=1).double()


def r_precision(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    """Precision at ``R``, the number of relevant items: Musgrave et al., ECCV 2020.

    Arguments:
        relevance: ``bool`` of shape ``(num_queries, num_items)``; see the module.
        num_relevant: integers of shape ``(num_queries,)``, how many items of the gallery are
            relevant, found or not. By default those of ``relevance``.
        ranks: integers of the shape of ``relevance``; see the module.

    Returns:
        ``float64`` of shape ``(num_queries,)``, NaN where nothing is relevant.

    Example:
        >>> r_precision(torch.tensor([[True, False, True]])).tolist()
        [0.5]
    """
    relevance, num_relevant, ranks = _first_r(relevance, num_relevant, ranks)
    return relevance.sum(dim=1).double() / num_relevant


def average_precision_at_r(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    r""":math:`\frac{1}{R}\sum_{i=1}^{R} P(i)`, where ``P(i)`` is the precision at ``i`` if item
    ``i`` is relevant and else 0. Its mean is MAP@R: Musgrave et al., "A Metric Learning Reality
    Check", ECCV 2020. Arguments and result as in :func:`r_precision`.

    Example:
        >>> average_precision_at_r(torch.tensor([[False, True, True]])).tolist()
        [0.25]
    """
    return average_precision(*_first_r(relevance, num_relevant, ranks))


def average_precision(
    relevance: Tensor, num_relevant: Tensor | None = None, ranks: Tensor | None = None
) -> Tensor:
    r"""Mean of the precision at the rank of every relevant item,
    :math:`\frac{1}{R}\sum_{i\,\text{relevant}} P(i)`: Manning et al., "Introduction to Information
    Retrieval", 2008, section 8.4. Its mean is MAP. Arguments and result as in :func:`r_precision`.

    Example:
        >>> average_precision(torch.tensor([[True, False, True, False]])).tolist()
        [0.8333333333333333]
    """
    ranks = checked_ranks(relevance, ranks)
    num_relevant = _checked_num_relevant(relevance, num_relevant)
    return sum_of_precisions(relevance, 1 / ranks.double()) / num_relevant


def reciprocal_rank(relevance: Tensor, ranks: Tensor | None = None) -> Tensor:
    """One over the rank of the nearest relevant item; 0 where none was found.

    Its mean is the MRR: Voorhees, TREC-8, 1999. Arguments as in :func:`precision_at_k`.

    Example:
        >>> reciprocal_rank(torch.tensor([[False, True], [False, False]])).tolist()
        [0.5, 0.0]
    """
    ranks = checked_ranks(relevance, ranks)
    if relevance.shape[1] == 0:
        return torch.zeros(len(relevance), dtype=torch.float64, device=relevance.device)
    found, column = relevance.byte().max(dim=1)
    first = ranks.expand_as(relevance).gather(1, column[:, None])[:, 0]
    return found.double() / first


def check_k(k: int) -> None:
    """Raise unless ``k`` is a positive integer."""
    if isinstance(k, bool) or not isinstance(k, int) or k < 1:
        raise ValueError(f"k must be an integer of at least 1, got {k!r}")


def checked_ranks(items: Tensor, ranks: Tensor | None) -> Tensor:
    """``ranks``, or those of a whole list, of a shape that broadcasts with ``items``."""
    if items.ndim != 2:
        raise ValueError(f"expected shape (num_queries, num_items), got {tuple(items.shape)}")
    if ranks is None:
        return torch.arange(1, items.shape[1] + 1, device=items.device)[None]
    if ranks.shape != items.shape:
        raise ValueError(
            f"ranks must have the shape of the items, {tuple(items.shape)}, "
            f"got {tuple(ranks.shape)}"
        )
    return ranks


def sum_of_precisions(relevance: Tensor, inverse_ranks: Tensor) -> Tensor:
    """Sum over the relevant items of the precision at their ranks, ``(num_queries,)``.

    Counts are integers: cheaper, and on a GPU the cumulative sum of floats is not deterministic.
    """
    found = relevance.cumsum(dim=1, dtype=torch.int32).mul_(relevance)
    return torch.linalg.vecdot(found.double(), inverse_ranks)


def _relevant_until(relevance: Tensor, ranks: Tensor, last: Tensor | int) -> Tensor:
    return relevance & (ranks <= last)


def _first_r(
    relevance: Tensor, num_relevant: Tensor | None, ranks: Tensor | None
) -> tuple[Tensor, Tensor, Tensor]:
    ranks = checked_ranks(relevance, ranks)
    num_relevant = _checked_num_relevant(relevance, num_relevant)
    # ranks ascend from 1, so that rank R is never further right than column R
    width = int(num_relevant.max()) if len(num_relevant) else 0
    relevance = _relevant_until(relevance[:, :width], ranks[:, :width], num_relevant[:, None])
    return relevance, num_relevant, ranks[:, :width].expand_as(relevance)


def _checked_num_relevant(relevance: Tensor, num_relevant: Tensor | None) -> Tensor:
    if num_relevant is None:
        return relevance.sum(dim=1)
    if num_relevant.shape != relevance.shape[:1]:
        raise ValueError(
            f"num_relevant must have shape ({len(relevance)},), one number per query, "
            f"got {tuple(num_relevant.shape)}"
        )
    return num_relevant
