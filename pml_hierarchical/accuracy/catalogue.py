"""The plugin's metrics by name: the formula of each, and how many neighbours it looks at."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from functools import cache, partial
from typing import Any

import torch
from torch import Tensor

from . import metrics

EVERYTHING = 2**62  # neighbours: more than any gallery holds
LARGEST_K = 2**31 - 1

OF_PARTNERS = {"r_precision", "mean_average_precision_at_r", "average_set_intersection"}


# The next three look at no more than the references that were ranked.
def _r_precision(relevance: Tensor, num_relevant: Tensor, ranks: Tensor, depth: int) -> Tensor:
    return metrics.r_precision(relevance, num_relevant.clamp(max=depth), ranks)


def _area(levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor, depth: int) -> Tensor:
    return metrics.hierarchical_precision_area(levels, level_counts, min(k, depth), ranks)


def _severity(levels: Tensor, level_counts: Tensor, k: int, ranks: Tensor, depth: int) -> Tensor:
    height = metrics.mistake_severity_at_k(levels, level_counts.shape[1], min(k, depth), ranks)
    return torch.where(level_counts[:, -1] > 0, height, torch.nan)


# Their parameters name what RankedBlock.arguments gives, and <name>_at_k means any <name>_at_<k>.
# Those with level_counts have one value for all levels.
_FORMULAS: dict[str, Callable[..., Tensor]] = {
    "precision_at_k": metrics.precision_at_k,
    "recall_at_k": metrics.recall_at_k,
    "r_precision": _r_precision,
    "mean_average_precision_at_r": metrics.average_precision_at_r,
    "mean_average_precision": metrics.average_precision,
    "mean_reciprocal_rank": metrics.reciprocal_rank,
    "hierarchical_average_precision": metrics.hierarchical_average_precision,
    "average_set_intersection": metrics.average_set_intersection,
    "ndcg": metrics.ndcg,
    "hierarchical_precision_at_k": metrics.hierarchical_precision_at_k,
    "hierarchical_precision_area_at_k": _area,
    "mistake_severity": metrics.mistake_severity,
    "mistake_severity_at_k": _severity,
}
_parameters = cache(lambda formula: tuple(inspect.signature(formula).parameters))


def default_names(at_k: Sequence[int]) -> list[str]:
    """The metrics that are computed where ``include`` names none, without NMI and AMI."""
    fixed = {"precision_at_k": [1], "hierarchical_precision_area_at_k": [250]}
    return [
        re.sub(r"_at_k$", f"_at_{k}", name)
        for name in _FORMULAS
        for k in (fixed.get(name, at_k) if name.endswith("_at_k") else [0])
    ]


def find_metric(name: str) -> Callable[..., Tensor] | None:
    """What computes a metric on a block, or ``None`` if there is no metric of this name.

    Names that end in ``_at_<k>`` exist for every ``k`` from 1 to 2**31 - 1. Those that begin with
    ``neg_mistake_severity`` are the negatives, for ``HookContainer``, which picks the largest.

    >>> find_metric("recall_at_7") is None, find_metric("recall_at_0") is None
    (False, True)
    """
    is_negative = name.startswith("neg_mistake_severity")
    formula, k = _parse(name.removeprefix("neg_") if is_negative else name)
    if formula is None or (k or 1) > LARGEST_K:
        return None
    return partial(_compute, formula, k, -1 if is_negative else 1)


def _compute(formula: Callable[..., Tensor], k: int | None, sign: int, **given: Any) -> Tensor:
    given["k"], wanted = k, _parameters(formula)
    return sign * formula(**{name: given[name] for name in wanted if name in given})


def is_over_hierarchy(name: str) -> bool:
    """Whether a metric has one value for all levels."""
    formula, _ = _parse(name.removeprefix("neg_"))
    return formula is not None and "level_counts" in _parameters(formula)


def depth_of(name: str, num_partners: int) -> int:
    """How many neighbours a metric looks at, if a query has at most ``num_partners``."""
    if name in OF_PARTNERS:
        return num_partners
    return 1 if name.endswith("mistake_severity") else _parse(name)[1] or EVERYTHING


def _parse(name: str) -> tuple[Callable[..., Tensor] | None, int | None]:
    """The formula of a metric and its ``k``, each ``None`` if there is none."""
    if match := re.fullmatch(r"(\w+_at_)([1-9]\d*)", name):
        return _FORMULAS.get(f"{match[1]}k"), int(match[2])
    return None if name.endswith("_at_k") else _FORMULAS.get(name), None
