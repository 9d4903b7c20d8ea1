"""The metrics by name: what each computes on a ranked block, and how deep it has to look."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from . import metrics
from .ranking import RankedBlock

EVERYTHING = 2**62  # deeper than any gallery


@dataclass(frozen=True)
class Metric:
    """A metric that is a mean over the queries.

    Attributes:
        compute: values of shape ``(queries,)`` from a block and a level, NaN for a query that has
            none. A metric over the hierarchy ignores the level.
        depth: how many neighbours it looks at, given the largest number of partners that a query
            has at the level (over the hierarchy: at the coarsest).
        per_level: whether it is computed for one level at a time.
        needs_fine_partner: whether, over the hierarchy, queries without a partner at the finest
            level are left out, rather than only those without any.
    """

    compute: Callable[[RankedBlock, int], Tensor]
    depth: Callable[[int], int]
    per_level: bool = True
    needs_fine_partner: bool = False


def _all(num_partners: int) -> int:
    return EVERYTHING


def _partners(num_partners: int) -> int:
    return num_partners


def _first(k: int) -> Callable[[int], int]:
    return lambda num_partners: k


def _of_partners(function: Callable[..., Tensor], depth: Callable[[int], int]) -> Metric:
    """A metric of one level that knows how many items are relevant."""
    return Metric(
        lambda b, level: function(b.relevance(level), b.num_partners[:, level], b.ranks), depth
    )


def _of_levels(function: Callable[..., Tensor], depth: Callable[[int], int]) -> Metric:
    """A metric over the hierarchy that knows how many items there are of every level."""
    return Metric(lambda b, _: function(b.levels, b.level_counts, ranks=b.ranks), depth, False)


def _r_precision(b: RankedBlock, level: int) -> Tensor:
    """With a ``k`` below R, the precision at ``k``: as PML has it."""
    num_relevant = b.num_partners[:, level].clamp(max=b.depth)
    return metrics.r_precision(b.relevance(level), num_relevant, b.ranks)


_PLAIN = {
    "r_precision": Metric(_r_precision, _partners),
    "mean_average_precision_at_r": _of_partners(metrics.average_precision_at_r, _partners),
    "mean_average_precision": _of_partners(metrics.average_precision, _all),
    "mean_reciprocal_rank": Metric(
        lambda b, level: metrics.reciprocal_rank(b.relevance(level), b.ranks), _all
    ),
    "hierarchical_average_precision": _of_levels(metrics.hierarchical_average_precision, _all),
    "average_set_intersection": _of_levels(metrics.average_set_intersection, _partners),
    "ndcg": _of_levels(metrics.ndcg, _all),
    "mistake_severity": Metric(
        lambda b, _: metrics.mistake_severity(b.levels, b.num_levels, b.ranks),
        _first(1),
        False,
        True,
    ),
}


def _precision_at(k: int) -> Metric:
    return Metric(
        lambda b, level: metrics.precision_at_k(b.relevance(level), k, b.ranks), _first(k)
    )


def _recall_at(k: int) -> Metric:
    return Metric(lambda b, level: metrics.recall_at_k(b.relevance(level), k, b.ranks), _first(k))


def _hierarchical_precision_at(k: int) -> Metric:
    def compute(b: RankedBlock, _: int) -> Tensor:
        return metrics.hierarchical_precision_at_k(b.levels, b.level_counts, k, b.ranks)

    return Metric(compute, _first(k), False)


# The next two divide by k, and beyond the gallery there is nothing to divide among.


def _hierarchical_precision_area_at(k: int) -> Metric:
    def compute(b: RankedBlock, _: int) -> Tensor:
        area = metrics.hierarchical_precision_area
        return area(b.levels, b.level_counts, min(k, b.depth), b.ranks)

    return Metric(compute, _first(k), False)


def _mistake_severity_at(k: int) -> Metric:
    def compute(b: RankedBlock, _: int) -> Tensor:
        return metrics.mistake_severity_at_k(b.levels, b.num_levels, min(k, b.depth), b.ranks)

    return Metric(compute, _first(k), False, True)


_AT_K = {
    "precision": _precision_at,
    "recall": _recall_at,
    "hierarchical_precision": _hierarchical_precision_at,
    "hierarchical_precision_area": _hierarchical_precision_area_at,
    "mistake_severity": _mistake_severity_at,
}


def default_names(at_k: Sequence[int]) -> list[str]:
    """The means over the queries that are computed where ``include`` names none."""
    return [
        "precision_at_1",
        *(f"recall_at_{k}" for k in at_k),
        "r_precision",
        "mean_average_precision_at_r",
        "mean_average_precision",
        "mean_reciprocal_rank",
        "hierarchical_average_precision",
        "average_set_intersection",
        "ndcg",
        *(f"hierarchical_precision_at_{k}" for k in at_k),
        "hierarchical_precision_area_at_250",
        "mistake_severity",
        *(f"mistake_severity_at_{k}" for k in at_k),
    ]


def find_metric(name: str) -> Metric | None:
    """The metric of a name, or ``None`` if there is no such mean over the queries.

    Names that end in ``_at_<k>`` exist for every positive ``k``. ``neg_mistake_severity`` and
    ``neg_mistake_severity_at_<k>`` are the negatives, for whoever picks the largest value, as
    ``HookContainer`` does.

    Example:
        >>> find_metric("recall_at_7").per_level
        True
        >>> find_metric("recall_at_0") is None
        True
    """
    if name.startswith("neg_mistake_severity"):
        metric = find_metric(name.removeprefix("neg_"))
        return None if metric is None else _negative(metric)
    if name in _PLAIN:
        return _PLAIN[name]
    match = re.fullmatch(r"(\w+)_at_([1-9]\d*)", name)
    if match is None or match[1] not in _AT_K:
        return None
    return _AT_K[match[1]](int(match[2]))


def _negative(metric: Metric) -> Metric:
    return replace(metric, compute=lambda block, level: -metric.compute(block, level))
