"""The validation of every training from its begin to its end, a panel for each length."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from ..report.colours import look_of
from ..report.curves import mean_by_step
from ..report.loss_names import full_name
from ..report.style import legend_below
from ..stored import VALIDATED
from .runs import ConvergenceOutcome, Length

PANEL = 4.6  # inches


def convergence_curves(outcome: ConvergenceOutcome, losses: Sequence[str]) -> Figure:
    """Validation MAP@R over the share of the training, for each loss the mean of its runs.

    The panels share their axes, so that the ends of the lines can be compared across them.

    Arguments:
        outcome: the results of all runs.
        losses: their names in the order of the legend.
    """
    lengths = outcome.convergence.lengths
    figure = Figure(figsize=(PANEL * len(lengths), 4.8), layout="constrained")
    panels = figure.subplots(1, len(lengths), sharex=True, sharey=True)
    for axes, length in zip(panels, lengths, strict=True):
        for loss in losses:
            share, accuracy = _curve(outcome, loss, length)
            marker = "o" if len(share) == 1 else ""  # a line of one point would not be seen
            look = look_of(loss).in_matplotlib
            axes.plot(share, accuracy, marker=marker, label=full_name(loss), **look)
        axes.set(xlabel="share of the training (%)", title=f"{length.epochs} epochs")
    panels[0].set_ylabel(f"validation MAP@R, {outcome.level_names[0]} (%)")
    legend_below(figure, *panels[0].get_legend_handles_labels())
    return figure


def _curve(outcome: ConvergenceOutcome, loss: str, length: Length) -> tuple[np.ndarray, np.ndarray]:
    name = length.run_name(loss)
    found = [
        result["validation"]
        for run, result in zip(outcome.convergence.runs, outcome.results, strict=True)
        if run.loss.name == name
    ]
    accuracy = mean_by_step([100 * np.asarray(one[VALIDATED], dtype=float) for one in found])
    return 100 * np.arange(1, len(accuracy) + 1) / length.epochs, accuracy
