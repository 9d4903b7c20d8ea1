"""What the hierarchy changes: paired differences from the base losses, with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..results import METRIC_NAMES, Summary, mean_and_interval
from .colours import LIGHT_LINE, PALETTE
from .loss_names import full_name
from .order import pairs_by_gain
from .style import MARKERS, legend_below

PANELS_IN_A_ROW = 3
NAME_WIDTH = 24  # characters
SHORTEST = 0.1  # points to either side of 0 that an axis has at least
OF_METRICS = (6, 7, 8)  # green, blue and rust
Pair = tuple[str, str]
Differences = Mapping[Pair, Sequence[tuple[float, float]]]


def differences_by_level(summary: Summary) -> Figure | None:
    """A panel per level; ``None`` if no hierarchical loss ran beside its base loss."""
    panels = {
        name: differences_at(summary, keys_at(level))
        for level, name in enumerate(summary.level_names)
    }
    return differences_figure(panels)


def differences_by_dataset(summaries: Mapping[str, Summary]) -> Figure | None:
    """A panel per data set, at its finest level."""
    panels = {
        f"{name}, {summary.level_names[0]}": differences_at(summary, keys_at(0))
        for name, summary in summaries.items()
    }
    return differences_figure({title: found for title, found in panels.items() if found})


def keys_at(level: int) -> list[str]:
    """The keys of the metrics of one level."""
    return [f"{metric}_level{level}" for metric in METRIC_NAMES]


def differences_at(summary: Summary, keys: Iterable[str]) -> Differences:
    """For each pair of a hierarchical loss and its base: mean and half-width of some metrics."""
    return {
        (loss, base): [
            mean_and_interval(summary.paired_differences(loss, base, key)) for key in keys
        ]
        for loss, base in pairs_by_gain(summary)
    }


def differences_figure(panels: Mapping[str, Differences]) -> Figure | None:
    """Panels side by side, with a line for every pair and a mark on it for every metric."""
    pairs = list(dict.fromkeys(pair for found in panels.values() for pair in found))
    if not pairs:
        return None
    columns = min(PANELS_IN_A_ROW, len(panels))
    lines = -(-len(panels) // columns)
    height = 0.9 + lines * (0.6 + 0.5 * len(pairs))
    figure = Figure(figsize=(11, max(2.4, height)), layout="constrained")
    all_axes = figure.subplots(lines, columns, sharey=True, squeeze=False).ravel()
    for axes in all_axes[len(panels) :]:
        axes.remove()
    for axes, (title, found) in zip(all_axes, panels.items(), strict=False):
        _panel(axes, pairs, found)
        axes.set(title=_wrapped(title), xlabel="difference (points)")
    for axes in all_axes[: len(panels) : columns]:
        axes.set_yticks(range(len(pairs)), [_pair_name(*pair) for pair in pairs])
    all_axes[0].set_ylim(len(pairs) - 0.5, -0.5)  # the first pair on top
    legend_below(figure, *all_axes[0].get_legend_handles_labels())
    return figure


def _panel(axes: Axes, pairs: Sequence[Pair], found: Differences) -> None:
    offsets = np.linspace(-0.24, 0.24, len(METRIC_NAMES))
    for number, name in enumerate(METRIC_NAMES.values()):
        shown = [(i, *found[pair][number]) for i, pair in enumerate(pairs) if pair in found]
        places = np.array([i for i, _, _ in shown]) + offsets[number]
        halves = [half for _, _, half in shown]
        axes.errorbar(
            [mean for _, mean, _ in shown],
            places,
            xerr=np.nan_to_num(halves),  # a single run has no interval
            fmt=MARKERS[number],
            color=PALETTE[OF_METRICS[number]].light,
            markersize=5,
            capsize=2.5,
            elinewidth=1.4,
            label=name,
        )
    axes.axvline(0, color="#000000", linewidth=0.8)
    axes.margins(x=0.1)
    if max(map(abs, axes.get_xlim())) < SHORTEST:  # else rounding would fill the panel
        axes.set_xlim(-SHORTEST, SHORTEST)
    axes.xaxis.set_major_locator(MaxNLocator(5))
    for border in _between(len(pairs)):
        axes.axhline(border, color=LIGHT_LINE, linewidth=0.8)
    axes.grid(axis="y", visible=False)
    axes.tick_params(axis="y", length=0)


def _between(count: int) -> Iterable[float]:
    return (i + 0.5 for i in range(count - 1))


def _pair_name(loss: str, base: str) -> str:
    return f"{full_name(loss)}\n− {full_name(base)}"


def _wrapped(title: str) -> str:
    return "\n".join(textwrap.wrap(title, 2 * NAME_WIDTH))
