"""From the validation of all runs to what longer training gains."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

import pandas as pd

from ..report.order import highest_first
from ..results import Summary, mean_and_interval
from ..stored import VALIDATED
from ..training import selected
from .runs import ConvergenceOutcome

MOST_GAIN = 1.0  # points of MAP@R that a converged loss may gain by longer training
MOST_DISTANCE = 3.0  # points of MAP@R that the best proxy loss may be below the best pair loss
PAIR, PROXY = "pair", "proxy"
MeanAndHalf = tuple[float, float]


@dataclass(frozen=True)
class LossGains:
    """All lengths of training of a loss; means over its runs, with half-widths of intervals.

    Attributes:
        loss: its name.
        kind: "pair", or "proxy" if it has a vector for each class.
        scores: for each length, the validation MAP@R of the selected epochs, in percent.
        gains: for each length but the shortest, the paired difference from the next shorter one,
            in points.
        best_epochs: for each length, the selected epoch of every run, from 1.
        seconds: for each length, how many a run takes.
    """

    loss: str
    kind: str
    scores: tuple[MeanAndHalf, ...]
    gains: tuple[MeanAndHalf, ...]
    best_epochs: tuple[tuple[int, ...], ...]
    seconds: tuple[float, ...]


def all_gains(outcome: ConvergenceOutcome) -> list[LossGains]:
    """What each loss gains, the loss with the best score after the shortest training first."""
    convergence = outcome.plan
    summary = _collected(outcome)
    found = {}
    for spec in convergence.losses:
        names = [length.run_name(spec.name) for length in convergence.lengths]
        found[spec.name] = LossGains(
            spec.name,
            PROXY if spec.has_proxies else PAIR,
            tuple(mean_and_interval(summary.values(name, VALIDATED)) for name in names),
            tuple(
                mean_and_interval(summary.paired_differences(longer, shorter, VALIDATED))
                for shorter, longer in itertools.pairwise(names)
            ),
            tuple(tuple(summary.values(name, "best_epoch").tolist()) for name in names),
            tuple(float(summary.values(name, "seconds").mean()) for name in names),
        )
    return [found[loss] for loss in highest_first((g.loss, g.scores[0][0]) for g in found.values())]


def _collected(outcome: ConvergenceOutcome) -> Summary:
    """One row per run, its loss by the name that also has the length."""
    rows = [
        {
            "loss": run.loss.name,
            "seed": run.seed,
            "fold": run.fold,
            "best_epoch": result["best_epoch"],
            "seconds": result["seconds"],
            VALIDATED: 100 * selected(result),
        }
        for run, result in zip(outcome.plan.runs, outcome.results, strict=True)
    ]
    return Summary(pd.DataFrame(rows), pd.DataFrame(), "", (VALIDATED,), outcome.level_names)


def still_gaining(gains: list[LossGains], step: int) -> list[LossGains]:
    """The losses that longer training raises by more than ``MOST_GAIN``, the largest gain first.

    Arguments:
        gains: of all losses.
        step: 0 for the difference between the second length and the shortest.
    """
    above = [one for one in gains if one.gains[step][0] > MOST_GAIN]
    return sorted(above, key=lambda one: -one.gains[step][0])


def have_converged(gains: list[LossGains], step: int) -> bool:
    """Whether longer training raises no loss by more than ``MOST_GAIN``.

    A loss whose training gave no number has not converged.
    """
    return all(one.gains[step][0] <= MOST_GAIN for one in gains)


def best_of(gains: list[LossGains], kind: str, length: int) -> LossGains | None:
    """The best loss of a kind after training for one of the lengths, numbered from 0."""
    of_kind = [one for one in gains if one.kind == kind and not math.isnan(one.scores[length][0])]
    return max(of_kind, key=lambda one: one.scores[length][0], default=None)


def lead_of_proxies(gains: list[LossGains], length: int) -> float | None:
    """The best proxy loss minus the best pair loss, in points; ``None`` without one of them."""
    proxy, pair = (best_of(gains, kind, length) for kind in (PROXY, PAIR))
    if proxy is None or pair is None:
        return None
    return proxy.scores[length][0] - pair.scores[length][0]
