"""Accuracy by level: a bar for every loss, a panel for every level."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..results import Summary, mean_and_interval
from .style import BASELINE, HIERARCHICAL
from .tables import number

RIGHT_MARGIN = 1.22  # for the numbers beside the bars


def accuracy_by_level(summary: Summary) -> Figure:
    """MAP@R of every loss on the test classes, a panel per level; hierarchical losses in blue.

    The lines are 95% Student-t intervals.
    """
    levels = len(summary.level_names)
    layout = ConstrainedLayoutEngine(wspace=0.07)  # else the numbers stand with the next panel
    figure = Figure(figsize=(11, 0.9 + 0.26 * (len(summary.losses) + 1)), layout=layout)
    panels = figure.subplots(1, levels, sharey=True, squeeze=False)[0]
    names = [*summary.losses[::-1], f"({summary.untrained_name})"]
    bases = dict(summary.hierarchical())
    colours = [HIERARCHICAL if name in bases else BASELINE for name in names]
    for level, axes in enumerate(panels):
        key = f"mean_average_precision_at_r_level{level}"
        stats = [mean_and_interval(summary.values(loss, key)) for loss in summary.losses[::-1]]
        means = [*(mean for mean, _ in stats), summary.untrained[key].mean()]
        errors = np.nan_to_num([*(half for _, half in stats), 0.0])
        places = range(len(names))  # by number: two bars of one name would lie on one another
        axes.barh(places, means, xerr=errors if errors.any() else None, color=colours, height=0.7)
        axes.set_yticks(places, names)
        axes.set_xlim(0, RIGHT_MARGIN * np.nanmax(np.nan_to_num(means) + errors))
        for position, mean in enumerate(means):
            axes.text(
                1,
                position,
                number(mean),
                transform=axes.get_yaxis_transform(),  # right of all bars and lines
                ha="right",
                va="center",
                fontsize=8,
            )
        axes.set(title=summary.level_names[level], xlabel="MAP@R (%)")
        axes.grid(axis="y", visible=False)
    return figure
