"""What a search went through: all trials as a table, and the best so far as a plot."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..files import write_whole
from ..report.style import as_png, legend_below, line_styles
from ..results import Summary, base_of
from .trials import FILE, quiet_optuna, read_study

TABLE, PLOT = "trials.csv", "trials.png"


def trials_table(folder: Path) -> pd.DataFrame:
    """A row per finished trial of every loss.

    Arguments:
        folder: of the searches on a data set, ``OUT/tuning/DATASET``.

    Returns:
        The columns ``loss``, ``trial`` (from 0), ``value`` (validation MAP@R in percent, 0 if it
        failed), ``best`` (of the trials so far), ``seconds``, ``error`` (empty if it did not fail),
        ``pruned`` (whether it was ended early) and one per setting, empty for losses without it.

    Raises:
        OSError: if there is no search in the folder.
    """
    rows = []
    with quiet_optuna():
        for file in sorted(folder.glob(f"*/{FILE}")):
            study, best = read_study(file.parent), 0.0
            for trial in study.trials:
                pruned = trial.user_attrs["pruned"]
                best = best if pruned else max(best, 100 * (trial.value or 0))
                rows.append(
                    {
                        "loss": study.user_attrs["search"]["loss"],
                        "trial": trial.number,
                        "value": 100 * (trial.value or 0),
                        "best": best,
                        "seconds": trial.user_attrs["seconds"],
                        "error": trial.user_attrs["error"],
                        "pruned": pruned,
                        **trial.user_attrs["values"],
                    }
                )
    if not rows:
        raise OSError(f"there is no finished trial in {folder}")
    return pd.DataFrame(rows)


def best_so_far(trials: pd.DataFrame) -> Figure:
    """The best validation MAP@R after n trials, a line per loss in the style of the report."""
    figure = Figure(figsize=(7, 4.6), layout="constrained")
    axes = figure.subplots()
    bases = [base_of(loss) for loss in trials["loss"]]
    summary = Summary(trials.assign(base=bases), pd.DataFrame(), "", (), ())
    for loss, style in line_styles(summary).items():
        rows = trials[trials["loss"] == loss]
        axes.plot(rows["trial"] + 1, rows["best"], drawstyle="steps-post", **style)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="trials", ylabel="best MAP@R (%)", title="Validation, from the usual settings")
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def write_trials(folder: Path) -> list[Path]:
    """Write the table and the plot beside the searches; returns the paths of both."""
    trials = trials_table(folder)
    table, plot = folder / TABLE, folder / PLOT
    write_whole(table, trials.to_csv(index=False))
    write_whole(plot, as_png(best_so_far(trials)))
    return [table, plot]
