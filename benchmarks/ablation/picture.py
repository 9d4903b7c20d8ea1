"""The study as one picture: a line per variant, a mark per data set and base loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ..losses import HPL_PREFIXES
from ..report.colours import LIGHT_LINE, look_of
from ..report.loss_names import full_name
from ..report.style import legend_below
from .differences import TOGETHER
from .table import FINEST
from .variants import Variant

if TYPE_CHECKING:
    from .study import DatasetStudy

MARKERS = ("o", "s", "^", "D", "v", "P")  # of the data sets
LINE_HEIGHT, LARGEST = 0.34, 4.0  # inches; points shown at most to either side
WIDTH = 11


def forest(studies: Sequence[DatasetStudy]) -> Figure:
    """Differences from the flat losses at the finest level: a panel each for both kinds of tree.

    An arrowhead at the border of a panel stands for an interval, or a mark, that lies beyond it.
    """
    from .study import variants_of

    groups = {prefix: [v for v in variants_of(studies) if v.prefix == prefix] for prefix in
              HPL_PREFIXES}  # fmt: skip
    groups = {prefix: found for prefix, found in groups.items() if found}
    most = max(map(len, groups.values()))
    figure = Figure(figsize=(WIDTH, 1.4 + LINE_HEIGHT * most), layout="constrained")
    panels = figure.subplots(1, len(groups), sharex=True, squeeze=False)[0]
    limits = _limits(studies)
    for axes, (prefix, variants) in zip(panels, groups.items(), strict=True):
        _panel(axes, studies, variants, limits)
        axes.set(
            title=f"{HPL_PREFIXES[prefix].capitalize()} trees",
            xlabel="MAP@R of the finest level: difference (points)",
        )
        axes.set_ylim(most - 0.5, -0.5)  # the first variant on top
    panels[0].set_xlim(*limits)
    handles, labels = [], []
    for axes in panels:
        for handle, label in zip(*axes.get_legend_handles_labels(), strict=True):
            if label not in labels:
                handles.append(handle)
                labels.append(label)
    legend_below(figure, handles, labels)
    return figure


def _panel(
    axes: Axes,
    studies: Sequence[DatasetStudy],
    variants: Sequence[Variant],
    limits: tuple[float, float],
) -> None:
    series = [
        (number, study, base)
        for number, study in enumerate(studies)
        for base in study.rows
        if base != TOGETHER
    ]
    offsets = np.linspace(-0.3, 0.3, len(series)) if len(series) > 1 else [0.0]
    places = {variant: place for place, variant in enumerate(variants)}
    for offset, (number, study, base) in zip(offsets, series, strict=True):
        shown = [
            (places[row.variant] + offset, *row.values[FINEST])
            for row in study.rows[base]
            if row.variant in places
        ]
        colour = look_of(base).colour.light
        axes.errorbar(
            [mean for _, mean, _ in shown],
            [place for place, _, _ in shown],
            xerr=np.nan_to_num([half for _, _, half in shown]),
            fmt=MARKERS[number % len(MARKERS)],
            color=colour,
            markersize=4.5,
            capsize=2,
            elinewidth=1.1,
            label=f"{study.name}, {full_name(base)}",
        )
        for border, arrow, side in zip(limits, "<>", (-1, 1), strict=True):
            ends = [(place, mean + side * np.nan_to_num(half)) for place, mean, half in shown]
            beyond = [place for place, end in ends if side * end > side * border]
            at_border = axes.plot([border] * len(beyond), beyond, arrow, color=colour, markersize=5)
            at_border[0].set(clip_on=False, in_layout=False)
    axes.axvline(0, color="#000000", linewidth=0.8)
    names = [variant.change.replace("=", " = ") or "reference" for variant in variants]
    axes.set_yticks(range(len(variants)), names)
    factors = [variant.factor for variant in variants]
    for border in (i for i in range(1, len(factors)) if factors[i] != factors[i - 1]):
        axes.axhline(border - 0.5, color=LIGHT_LINE, linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _limits(studies: Sequence[DatasetStudy]) -> tuple[float, float]:
    """The axis limits that hold the differences with their intervals, as far as they are near 0."""
    ends = [0.0]
    for study in studies:
        for rows in study.rows.values():
            for row in rows:
                if row.variant:
                    mean, half = row.values[FINEST]
                    ends += [mean - np.nan_to_num(half), mean + np.nan_to_num(half)]
    low, high = max(min(ends), -LARGEST), min(max(ends), LARGEST)
    margin = 0.05 * max(high - low, 0.1)
    return low - margin, high + margin
