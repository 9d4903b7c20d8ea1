"""What the numbers of several data sets say together: ranks, and how often a loss is the best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats

from ..results import Summary, mean_and_interval, sign_of


@dataclass(frozen=True)
class Standing:
    """How a loss stands among the others.

    A cell is a metric at a level of a data set.

    Attributes:
        loss: its name.
        rank: the average over all cells of its rank by mean, 1 being the best; NaN for a loss
            that was not run on every data set, which is not ranked.
        finest_rank: the same for the metrics of the finest level alone.
        cells: the number of cells in which it has a mean.
        best: the number of those in which no other loss has a better mean.
        best_or_tied: the same, counting those where it ties with the best, see
            :func:`ties_with_best`.
    """

    loss: str
    rank: float
    finest_rank: float
    cells: int
    best: int
    best_or_tied: int


def means(summary: Summary) -> pd.DataFrame:
    """The mean of every loss (rows) in every cell of a data set (columns); NaN without runs.

    Higher is better in all: where it is not, the mean is negative.
    """
    table = summary.runs.groupby("loss", sort=False)[list(summary.metrics)].mean()
    return table * [sign_of(key) for key in summary.metrics]


def average_ranks(table: pd.DataFrame) -> pd.Series:
    """The average rank of each row over the columns; 1 for the highest, equal ones share theirs.

    Rows that have no number in some column are left out, as if they were not there: ranks among
    different numbers of rows say nothing together.
    """
    complete = table.dropna()
    if complete.empty or not len(complete.columns):
        return pd.Series(np.nan, index=table.index)
    ranks = stats.rankdata(-complete.to_numpy(), axis=0)
    return pd.Series(ranks.mean(axis=1), index=complete.index).reindex(table.index)


def ties_with_best(summary: Summary, loss: str, best: str, key: str) -> bool:
    """Whether the runs leave open which of the two is better.

    They do if the 95% Student-t interval of the paired difference, over the seeds and folds of the
    summary that both were run with, includes 0. A single pair has no interval, so only equal means
    tie.
    """
    mean, half = mean_and_interval(summary.paired_differences(loss, best, key))
    return bool(abs(mean) <= half)


def standings(summaries: Sequence[Summary]) -> list[Standing]:
    """How every loss stands over all cells of all data sets, in the order of the losses."""
    summaries = [summary.common() for summary in summaries]
    # a severity without mistakes is NaN: such a cell says nothing about the order
    tables = [means(summary).dropna(axis="columns") for summary in summaries]
    losses = list(dict.fromkeys(loss for table in tables for loss in table.index))
    joint = pd.concat([table.reindex(losses) for table in tables], axis=1, keys=range(len(tables)))
    finest = joint[[column for column in joint.columns if column[1].endswith("_level0")]]
    ranks, finest_ranks = average_ranks(joint), average_ranks(finest)
    best, tied = dict.fromkeys(losses, 0), dict.fromkeys(losses, 0)
    for summary, table in zip(summaries, tables, strict=True):
        for key, column in table.items():
            winners = set(column.index[column == column.max()])
            for loss in column.index:
                best[loss] += loss in winners
                tied[loss] += loss in winners or any(
                    ties_with_best(summary, loss, winner, key) for winner in winners
                )
    return [
        Standing(
            loss,
            float(ranks[loss]),
            float(finest_ranks[loss]),
            int(joint.loc[loss].notna().sum()),
            best[loss],
            tied[loss],
        )
        for loss in losses
    ]
