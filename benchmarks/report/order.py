"""The order of the losses in a report: by their score, the best first."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from ..results import Summary
from ..stored import VALIDATED

SCORE = VALIDATED  # MAP@R at the finest level
SCORE_NAME = "MAP@R"


def score_of(summary: Summary, loss: str) -> float:
    """The mean MAP@R of a loss at the finest level, in percent; NaN without runs."""
    values = summary.values(loss, SCORE)
    return float(np.mean(values)) if len(values) else math.nan


def by_score(summary: Summary) -> list[str]:
    """The losses by their score; those without one last, equal ones in the registry's order."""
    return highest_first((loss, score_of(summary, loss)) for loss in summary.losses)


def leaders(summary: Summary) -> list[str]:
    """The loss with the highest score, or those that share it."""
    losses = by_score(summary)
    best = score_of(summary, losses[0])
    return [loss for loss in losses if score_of(summary, loss) == best] or losses[:1]


def highest_first(scores: Iterable[tuple[str, float]]) -> list[str]:
    """Names by their numbers, those whose number is NaN last.

    Example:
        >>> highest_first([("a", math.nan), ("b", 1.0), ("c", 2.0)])
        ['c', 'b', 'a']
    """
    return [name for name, _ in sorted(scores, key=lambda pair: -or_lowest(pair[1]))]


def pairs_by_gain(summary: Summary) -> list[tuple[str, str]]:
    """The hierarchical losses with their base losses, those that gained most first."""
    pairs = summary.hierarchical()
    gains = [_mean(summary.paired_differences(*pair, SCORE)) for pair in pairs]
    order = sorted(range(len(pairs)), key=lambda i: -or_lowest(gains[i]))
    return [pairs[i] for i in order]


def _mean(values: np.ndarray) -> float:
    return float(values.mean()) if len(values) else math.nan


def or_lowest(value: float) -> float:
    """A number for sorting: NaN is below all others."""
    return -math.inf if math.isnan(value) else value
