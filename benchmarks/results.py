"""From the results of single runs to means, intervals and paired differences."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import pandas as pd
from scipy import stats

from .losses import ALL_LOSSES, DEFAULT_LOSSES, HPL_PREFIXES
from .stored import StoredRuns
from .training import HIERARCHY_NAMES, METRIC_NAMES

Item = TypeVar("Item")
Row = dict[str, Any]

LOWER_IS_BETTER = {"mistake_severity"}
ALL_LEVELS = "all levels"


@dataclass(frozen=True)
class Summary:
    """All runs of a suite as one table.

    Attributes:
        runs: a row per run, with the columns ``loss``, ``base`` (``None`` for a flat loss),
            ``seed``, ``fold``, ``seconds`` and one per key of ``metrics``, shares in percent.
        untrained: a row per fold with the same metrics, for the embedding that was not trained.
        untrained_name: what that embedding is.
        metrics: keys such as ``precision_at_1_level0``, level by level, then those of
            ``HIERARCHY_NAMES`` that were measured.
        level_names: what a class of each level is.
    """

    runs: pd.DataFrame
    untrained: pd.DataFrame
    untrained_name: str
    metrics: tuple[str, ...]
    level_names: tuple[str, ...]

    @property
    def losses(self) -> list[str]:
        """The losses in the order of their rows."""
        return list(dict.fromkeys(self.runs["loss"]))

    def common(self) -> Summary:
        """The seeds and folds that every loss was run with; all runs if there is none."""
        counts = self.runs.groupby(["seed", "fold"])["loss"].transform("nunique")
        shared = self.runs[counts == len(self.losses)]
        return replace(self, runs=shared) if len(shared) else self

    @property
    def is_paired(self) -> bool:
        """Whether all losses were run with the same seeds and folds."""
        counts = self.runs.groupby(["seed", "fold"])["loss"].nunique()
        return bool((counts == len(self.losses)).all())

    @property
    def repetitions(self) -> int:
        """The largest number of runs of a loss."""
        return int(self.runs.groupby("loss").size().max())

    def column(self, key: str) -> tuple[str, str]:
        """The column of a metric in a table: the level's name and its own."""
        if key in HIERARCHY_NAMES:
            return ALL_LEVELS, HIERARCHY_NAMES[key]
        metric, _, level = key.rpartition("_level")
        return self.level_names[int(level)], METRIC_NAMES[metric]

    def values(self, loss: str, column: str) -> np.ndarray:
        """One number per run of a loss; a run without a mistake has no severity."""
        values = self.runs.loc[self.runs["loss"] == loss, column]
        return (values.dropna() if column in LOWER_IS_BETTER else values).to_numpy()

    def hierarchical(self) -> list[tuple[str, str]]:
        """The pairs of a hierarchical loss and its base loss that share a seed and fold."""
        runs_of = {
            loss: set(zip(runs["seed"], runs["fold"], strict=True))
            for loss, runs in self.runs.groupby("loss")
        }
        pairs = self.runs[["loss", "base"]].drop_duplicates().itertuples(index=False)
        return [
            (p.loss, p.base)
            for p in pairs
            if isinstance(p.base, str) and runs_of[p.loss] & runs_of.get(p.base, set())
        ]

    def paired_differences(self, loss: str, other: str, column: str) -> np.ndarray:
        """``loss`` minus ``other`` for every seed and fold that both were run with."""
        both = [
            self.runs[self.runs["loss"] == name].set_index(["seed", "fold"])[column]
            for name in (loss, other)
        ]
        return (both[0] - both[1]).dropna().to_numpy()


def metric_keys(num_levels: int) -> tuple[str, ...]:
    """The keys of the metrics of every level, level by level."""
    return tuple(f"{metric}_level{level}" for level in range(num_levels) for metric in METRIC_NAMES)


def sign_of(key: str) -> int:
    """What to multiply a metric by so that higher is better."""
    return -1 if key in LOWER_IS_BETTER else 1


def collect(stored: StoredRuns) -> Summary:
    """Put the results of the runs of a data set into one table, in the order of the registry."""
    rows = [
        _row({**result["config"], **result}, result["config"]["fold"], result["seconds"])
        for result in stored.results
    ]
    return _summary(stored, rows, map(in_percent, stored.untrained), stored.untrained_name)


def collect_concatenated(stored: StoredRuns) -> Summary | None:
    """The same for the models of the folds side by side; ``None`` where no loss has all folds.

    There is one row per loss and seed, and no embedding without training beside them.
    """
    rows = [_row(result, 0, float("nan")) for result in stored.concatenated]
    return _summary(stored, rows, [], "") if rows else None


def _row(result: Mapping[str, Any], fold: int, seconds: float) -> Row:
    return {
        "loss": result["loss"],
        "base": base_of(result["loss"]),
        "seed": result["seed"],
        "fold": fold,
        "seconds": seconds,
        "epochs": result.get("training", {}).get("epochs"),
        **in_percent(result["test"]),
    }


def in_percent(metrics: Mapping[str, float]) -> dict[str, float]:
    """Shares in percent; a severity stays a number of levels."""
    return {key: value if key in LOWER_IS_BETTER else 100 * value for key, value in metrics.items()}


def _summary(stored: StoredRuns, rows: list[Row], untrained: Iterable[Row], name: str) -> Summary:
    keys = metric_keys(len(stored.level_names))
    if len(stored.level_names) > 1:  # without superclasses there is nothing else to say
        keys += tuple(key for key in HIERARCHY_NAMES if any(key in row for row in rows))
    chosen = ["loss", "base", "seed", "fold", "seconds", "epochs", *keys]
    ordered = in_registry_order(rows, lambda row: row["loss"])
    return Summary(
        pd.DataFrame(ordered, columns=chosen),
        pd.DataFrame(untrained, columns=list(keys)),
        name,
        keys,
        stored.level_names,
    )


def base_of(loss: str) -> str | None:
    """The name of the loss that a hierarchical one builds on: what follows the colon."""
    return loss.partition(":")[2] or None


def in_registry_order(items: Iterable[Item], loss: Callable[[Item], str]) -> list[Item]:
    """Sort by loss as the registry lists them: folders are read by name, which says nothing.

    The losses of ``run`` without ``--losses`` come first, and those that are not in the registry
    last. Items of one loss stay in their order.
    """
    hierarchical = [f"{prefix}:{base}" for prefix in HPL_PREFIXES for base in ALL_LOSSES]
    order = dict.fromkeys([*DEFAULT_LOSSES, *ALL_LOSSES, *hierarchical])
    rank = {name: i for i, name in enumerate(order)}
    return sorted(items, key=lambda item: rank.get(loss(item), len(rank)))


def mean_and_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The mean and the half-width of its 95% Student-t interval.

    A single value has no interval, and an empty list has no mean either: they are NaN. This does
    not use ``scipy.stats.bootstrap``, whose 95% intervals hold the mean in 82% of cases for five
    normal values.
    """
    values = np.asarray(values, dtype=np.float64)
    mean = float(values.mean()) if len(values) else float("nan")
    if len(values) < 2:
        return mean, float("nan")
    return mean, float(stats.sem(values) * stats.t.ppf(0.975, len(values) - 1))
