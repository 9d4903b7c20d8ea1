"""Accuracy by level: a bar for every loss, a panel for every level."""

from __future__ import annotations

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from ..results import Summary, base_of, mean_and_interval
from .colours import UNTRAINED, look_of
from .differences import PANELS_IN_A_ROW
from .loss_names import full_name
from .order import by_score
from .tables import number

RIGHT_MARGIN = 1.22  # for the numbers beside the bars
STRIPES = "////"  # of hierarchical losses


def accuracy_by_level(summary: Summary) -> Figure:
    """MAP@R of every loss on the test classes, a panel per level, the best loss on top.

    A bar has the colour of its loss, and stripes where the loss is hierarchical. The lines are 95%
    Student-t intervals.
    """
    levels = len(summary.level_names)
    columns = min(PANELS_IN_A_ROW, levels)
    lines = -(-levels // columns)
    layout = ConstrainedLayoutEngine(wspace=0.07)  # else the numbers run into the next panel
    height = lines * (0.9 + 0.26 * (len(summary.losses) + 1))
    figure = Figure(figsize=(11, height), layout=layout)
    panels = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes in panels[levels:]:
        axes.remove()
    losses = by_score(summary)[::-1]  # the first bar is the lowest
    names = [f"({summary.untrained_name})", *map(full_name, losses)]
    colours = [UNTRAINED.light, *(look_of(loss).colour.light for loss in losses)]
    stripes = ["", *(STRIPES if base_of(loss) else "" for loss in losses)]
    for level, axes in enumerate(panels[:levels]):
        key = f"mean_average_precision_at_r_level{level}"
        stats = [mean_and_interval(summary.values(loss, key)) for loss in losses]
        means = [summary.untrained[key].mean(), *(mean for mean, _ in stats)]
        errors = np.nan_to_num([0.0, *(half for _, half in stats)])
        places = range(len(names))  # by number: two bars of one name would overlap
        with matplotlib.rc_context({"hatch.color": "white"}):
            axes.barh(
                places,
                means,
                xerr=errors if errors.any() else None,
                color=colours,
                hatch=stripes,
                edgecolor=colours,
                height=0.7,
            )
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
