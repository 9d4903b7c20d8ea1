"""From the results of single runs to means, intervals and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from .suite import Outcome
from .training import METRICS

METRIC_NAMES = {
    "precision_at_1": "P@1",
    "r_precision": "RP",
    "mean_average_precision_at_r": "MAP@R",
}


@dataclass(frozen=True)
class Summary:
    """All runs of a suite as one table.

    Attributes:
        runs: a row per run, with the columns ``loss``, ``base`` (``None`` for a flat loss),
            ``seed``, ``fold``, ``seconds`` and one per key of ``metrics``, in percent.
        untrained: a row per fold with the same metrics, for the embedding that was not trained.
        untrained_name: what that embedding is.
        metrics: keys such as ``precision_at_1_level0``, level by level.
        level_names: what a class of each level is.
    """

    runs: pd.DataFrame
    untrained: pd.DataFrame
    untrained_name: str
    metrics: tuple[str, ...]
    level_names: tuple[str, ...]

    @property
    def losses(self) -> list[str]:
        """The losses in the order in which they ran."""
        return list(dict.fromkeys(self.runs["loss"]))

    @property
    def repetitions(self) -> int:
        """The smallest number of runs of a loss."""
        return int(self.runs.groupby("loss").size().min())

    def values(self, loss: str, column: str) -> np.ndarray:
        """One number per run of a loss."""
        return self.runs.loc[self.runs["loss"] == loss, column].to_numpy()

    def hierarchical(self) -> list[tuple[str, str]]:
        """The pairs of a hierarchical loss and its base loss of which both were run."""
        pairs = self.runs[["loss", "base"]].drop_duplicates().itertuples(index=False)
        return [
            (p.loss, p.base) for p in pairs if isinstance(p.base, str) and p.base in self.losses
        ]

    def paired_differences(self, loss: str, other: str, column: str) -> np.ndarray:
        """``loss`` minus ``other`` for every seed and fold that both were run with."""
        both = [
            self.runs[self.runs["loss"] == name].set_index(["seed", "fold"])[column]
            for name in (loss, other)
        ]
        return (both[0] - both[1]).dropna().to_numpy()


def metric_keys(num_levels: int) -> tuple[str, ...]:
    """The keys of the metrics that are reported, level by level."""
    return tuple(f"{metric}_level{level}" for level in range(num_levels) for metric in METRICS)


def collect(outcome: Outcome) -> Summary:
    """Put the results of a suite into one table."""
    keys = metric_keys(len(outcome.data.level_names))
    bases = {run.loss.name: run.loss.base for run in outcome.suite.runs}
    rows = [
        {
            "loss": result["config"]["loss"],
            "base": bases[result["config"]["loss"]],
            "seed": result["config"]["seed"],
            "fold": result["config"]["fold"],
            "seconds": result["seconds"],
            **{key: 100 * result["test"][key] for key in keys},
        }
        for result in outcome.results
    ]
    untrained = [{key: 100 * fold[key] for key in keys} for fold in outcome.untrained]
    return Summary(
        pd.DataFrame(rows),
        pd.DataFrame(untrained),
        outcome.data.untrained_name,
        keys,
        outcome.data.level_names,
    )


def mean_and_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean and the half-width of its 95% Student-t interval (NaN for a single value)."""
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean())
    if len(values) < 2:
        return mean, float("nan")
    return mean, float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
