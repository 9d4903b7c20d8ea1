"""Training curves, accuracy by level, and what HPL gains over its base loss."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..results import METRIC_NAMES, Summary, mean_and_interval

# Okabe & Ito's colours, which people with any colour vision tell apart, and three more.
COLOURS = (
    "#E69F00",
    "#56B4E9",
    "#CC79A7",
    "#000000",
    "#7F7F7F",
    "#882255",
    "#009E73",
    "#0072B2",
    "#D55E00",
)
BASELINE, HIERARCHICAL = "#9AA5B1", "#0072B2"

matplotlib.rcParams.update(
    {
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.grid": True,
        "axes.axisbelow": True,
        "grid.color": "#E5E8EB",
        "font.size": 9,
        "axes.titlesize": 10,
        "legend.frameon": False,
    }
)


def training_curves(results: Sequence[dict[str, Any]], summary: Summary) -> Figure:
    """Validation MAP@R at the finest level, and the training loss, over the epochs.

    A hierarchical loss has the colour of its base loss and a thick line, dotted where the tree is
    given. The losses differ in scale, so each is shown as a share of its first recorded value.
    With several runs of a loss, the lines are their means.
    """
    figure = Figure(figsize=(10, 4.2), layout="constrained")
    accuracy, loss_axes = figure.subplots(1, 2)
    bases = dict(summary.hierarchical())
    flat = [loss for loss in summary.losses if loss not in bases]
    for loss in summary.losses:
        style = {
            "color": COLOURS[flat.index(bases.get(loss, loss)) % len(COLOURS)],
            "linestyle": (0, (1, 1)) if loss.startswith("hpl_given:") else "-",
            "linewidth": 2.8 if loss in bases else 1.2,
            "label": loss,
        }
        runs = [result for result in results if result["config"]["loss"] == loss]
        epochs = runs[0]["validation"]["epoch"]
        curves = [run["validation"]["mean_average_precision_at_r_level0"] for run in runs]
        accuracy.plot(epochs, 100 * np.mean(curves, axis=0), **style)
        histories = [np.array(run["training_loss"]["total_loss"], dtype=float) for run in runs]
        relative = np.mean([history / (history[0] or 1.0) for history in histories], axis=0)
        loss_axes.plot(np.linspace(0, epochs[-1], len(relative)), relative, **style)
    for axes in (accuracy, loss_axes):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    accuracy.set(xlabel="epoch", ylabel="MAP@R (%)", title=f"Validation, {summary.level_names[0]}")
    loss_axes.set(xlabel="epoch", ylabel="loss / first loss", title="Training loss", ylim=(0, 1.5))
    handles, labels = accuracy.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside right upper", title="loss")
    return figure


def accuracy_by_level(summary: Summary) -> Figure:
    """MAP@R of every loss on the test classes, a panel per level; hierarchical losses in blue."""
    levels = len(summary.level_names)
    figure = Figure(figsize=(10, 0.8 + 0.24 * (len(summary.losses) + 1)), layout="constrained")
    panels = figure.subplots(1, levels, sharey=True, squeeze=False)[0]
    names = [*summary.losses[::-1], f"({summary.untrained_name})"]
    bases = dict(summary.hierarchical())
    for level, axes in enumerate(panels):
        key = f"mean_average_precision_at_r_level{level}"
        stats = [mean_and_interval(summary.values(loss, key)) for loss in summary.losses[::-1]]
        means = [*(mean for mean, _ in stats), summary.untrained[key].mean()]
        errors = np.nan_to_num([*(half for _, half in stats), 0.0])
        colours = [HIERARCHICAL if name in bases else BASELINE for name in names]
        axes.barh(names, means, xerr=errors if errors.any() else None, color=colours, height=0.7)
        for position, mean in enumerate(means):
            axes.annotate(
                f"{mean:.1f}", (0, position), (3, 0), textcoords="offset points", va="center"
            )
        axes.set(title=summary.level_names[level], xlabel="MAP@R (%)")
        axes.grid(axis="y", visible=False)
    return figure


def gain_by_level(summary: Summary) -> Figure | None:
    """The paired difference of each hierarchical loss to its base loss, a panel per level.

    The bars are means over seeds and folds; the lines are 95% Student-t intervals, which a single
    run does not have. ``None`` if no hierarchical loss ran beside its base loss.
    """
    pairs = summary.hierarchical()
    if not pairs:
        return None
    levels = len(summary.level_names)
    figure = Figure(figsize=(10, 3.2), layout="constrained")
    panels = figure.subplots(1, levels, sharey=True, squeeze=False)[0]
    width = 0.8 / len(pairs)
    for level, axes in enumerate(panels):
        for number, (loss, base) in enumerate(pairs):
            differences = [
                mean_and_interval(summary.paired_differences(loss, base, f"{metric}_level{level}"))
                for metric in METRIC_NAMES
            ]
            means = [mean for mean, _ in differences]
            intervals = [half for _, half in differences]
            positions = np.arange(len(means)) + (number - (len(pairs) - 1) / 2) * width
            axes.bar(
                positions,
                means,
                width * 0.9,
                yerr=None if np.isnan(intervals).any() else intervals,
                color=COLOURS[-1 - number % len(COLOURS)],
                label=f"{loss} − {base}",
                capsize=2,
            )
        axes.axhline(0, color="black", linewidth=0.8)
        axes.set_xticks(range(len(METRIC_NAMES)), list(METRIC_NAMES.values()))
        axes.set(
            title=summary.level_names[level], ylabel="difference (points)" if not level else ""
        )
        axes.margins(y=0.15)
        axes.grid(axis="x", visible=False)
    panels[0].set_ylabel("difference (points)")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure
