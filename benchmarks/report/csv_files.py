"""The numbers of a report as CSV: of every run, and of every loss with its intervals."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from ..results import LOWER_IS_BETTER, Summary, base_of, mean_and_interval
from .loss_names import full_name
from .order import by_score

RUNS_FILE, RESULTS_FILE = "runs.csv", "results.csv"
_BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def csv_files(summaries: Mapping[str, Summary]) -> dict[str, str]:
    """The content of each file by its name.

    Arguments:
        summaries: of the data sets, by the names that they have in the report.
    """
    tables = {RESULTS_FILE: results_table(summaries), RUNS_FILE: runs_table(summaries)}
    return {name: _safe(table).to_csv(index=False) for name, table in tables.items()}


def runs_table(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """A row per run: data set, loss, seed, fold, seconds, epochs, and all metrics by their keys.

    Shares are in percent, with all their digits.
    """
    return pd.concat(
        [_named(name, summary.runs) for name, summary in summaries.items()], ignore_index=True
    )


def results_table(summaries: Mapping[str, Summary]) -> pd.DataFrame:
    """A row per metric and loss, or hierarchical loss minus its base; the numbers of the tables.

    The columns ``mean``, ``half_width`` of the 95% interval (empty for one run), ``runs``, and
    ``minus``: the loss that is subtracted, run by run, or empty.
    """
    rows = []
    for name, summary in summaries.items():
        shared = summary.common()
        values = [
            (loss, "", key, shared.values(loss, key))
            for loss in by_score(shared)
            for key in summary.metrics
        ]
        values += [
            (loss, base, key, summary.paired_differences(loss, base, key))
            for loss, base in summary.hierarchical()
            for key in summary.metrics
        ]
        values += [
            (f"({summary.untrained_name})", "", key, summary.untrained[key].to_numpy())
            for key in summary.metrics
            if len(summary.untrained)
        ]
        rows += [
            _result(name, summary, loss, minus, key, found) for loss, minus, key, found in values
        ]
    return pd.DataFrame(rows)


def _result(
    dataset: str, summary: Summary, loss: str, minus: str, key: str, values: np.ndarray
) -> dict[str, object]:
    level, metric = summary.column(key)
    mean, half = mean_and_interval(values)
    return {
        "dataset": dataset,
        "loss": loss,
        "name": full_name(loss),
        "minus": minus,
        "key": key,
        "level": level,
        "metric": metric,
        "unit": "levels" if key in LOWER_IS_BETTER else "percent",
        "mean": mean,
        "half_width": half,
        "runs": int(np.count_nonzero(~np.isnan(values))),
    }


def _named(dataset: str, runs: pd.DataFrame) -> pd.DataFrame:
    names = [full_name(loss) for loss in runs["loss"]]
    front = pd.DataFrame({"dataset": dataset, "loss": runs["loss"], "name": names})
    base = pd.DataFrame({"base": [base_of(loss) for loss in runs["loss"]]}, index=runs.index)
    front.index = runs.index
    return pd.concat([front, base, runs.drop(columns=["loss", "base"])], axis=1)


def _safe(table: pd.DataFrame) -> pd.DataFrame:
    """Texts that a spreadsheet would take for a formula begin with an apostrophe."""

    def quoted(value: object) -> object:
        return f"'{value}" if str(value).startswith(_BEGINS_A_FORMULA) else value

    texts = [name for name in table.columns if table[name].dtype.kind not in "iuf"]
    return table.assign(**{name: table[name].map(quoted) for name in texts})
