"""The validation of every training run from first epoch to last, a panel for each loss."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..report.colours import LIGHT_INK, THIN, look_of
from ..report.curves import mean_by_step
from ..report.loss_names import full_name
from ..report.style import legend_below
from ..stored import VALIDATED
from .runs import ConvergenceOutcome, Length

COLUMNS = 4
PANEL = (2.7, 2.1)  # inches
PALEST = 0.4  # the opacity of the shortest training run


def convergence_curves(outcome: ConvergenceOutcome, losses: Sequence[str]) -> Figure:
    """Validation MAP@R over the share of the training, a line for each length.

    All panels have the same axes. The lines are means over the runs, those of shorter runs
    paler. Colours and dashes are those of the report; all lines are thin, since a difference of a
    point is no wider than a thick line.

    Arguments:
        outcome: the results of all runs.
        losses: their names in the order of the panels.
    """
    lengths = outcome.plan.lengths
    columns = min(COLUMNS, len(losses))
    rows = math.ceil(len(losses) / columns)
    size = (max(PANEL[0] * columns, 4.0), PANEL[1] * rows + 0.9)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).flatten()
    opacities = np.linspace(PALEST, 1, len(lengths))
    for axes, loss in zip(panels, losses, strict=False):
        for length, opacity in zip(lengths, opacities, strict=True):
            share, accuracy = _curve(outcome, loss, length)
            marker = "o" if len(share) == 1 else ""  # a line of one point would not be seen
            look = {**look_of(loss).in_matplotlib, "linewidth": THIN}
            axes.plot(share, accuracy, marker=marker, alpha=opacity, **look)
        axes.set_title(full_name(loss))
    for axes in panels[len(losses) :]:
        axes.remove()
    for axes in panels[max(0, len(losses) - columns) : len(losses)]:
        axes.set_xlabel("share of the training (%)")
        axes.xaxis.set_tick_params(labelbottom=True)  # even above a missing panel
    figure.supylabel(f"validation MAP@R, {outcome.level_names[0]} (%)", fontsize="medium")
    legend_below(
        figure,
        [Line2D([], [], color=LIGHT_INK, alpha=opacity) for opacity in opacities],
        [length.name for length in lengths],
    )
    return figure


def _curve(outcome: ConvergenceOutcome, loss: str, length: Length) -> tuple[np.ndarray, np.ndarray]:
    name = length.run_name(loss)
    found = [
        result["validation"]
        for run, result in zip(outcome.plan.runs, outcome.results, strict=True)
        if run.loss.name == name
    ]
    accuracy = mean_by_step([100 * np.asarray(one[VALIDATED], dtype=float) for one in found])
    return 100 * np.arange(1, len(accuracy) + 1) / length.epochs, accuracy
