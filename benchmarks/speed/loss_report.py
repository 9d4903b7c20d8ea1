"""The table and the plot of the speed of losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, NullFormatter
from tabulate import tabulate

from .loss_sides import CASE, COMPILED

GROWING = {"classes": "fine classes", "batch_size": "batch size", "levels": "levels"}
LABELS = {
    "products": "matrix products alone",
    "formula": "the paper's formula, flat",
    "pml": "PML, flat",
    "pml_levels": "PML, a loss per level",
    COMPILED: "PML, a loss per level, torch.compile",
    "core": "HPL, all levels, by PML's losses",
    "ours_flat": "HPL in its warm-up",
    "ours": "HPL, all levels",
    "ours_saving": "HPL, save_memory",
    "ours_share": "HPL, a tenth of the classes",
}
# Okabe & Ito's, which people with any colour vision tell apart
COLOURS = {
    "products": "#7F7F7F",
    "formula": "#CC79A7",
    "pml": "#E69F00",
    "pml_levels": "#D55E00",
    COMPILED: "#F0E442",
    "core": "#999933",
    "ours_flat": "#56B4E9",
    "ours": "#0072B2",
    "ours_saving": "#009E73",
    "ours_share": "#000000",
}

_WITH_MEMORY = ("pml", "ours", "ours_saving", "ours_share")


def ratio(case: dict[str, Any], side: str, to: str) -> str:
    """The median of the ratios of the repeats, and the range of the middle half of them."""
    if not {side, to} <= case["seconds"].keys():
        return ""
    ratios = np.divide(case["seconds"][side], case["seconds"][to])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def table(cases: list[dict[str, Any]]) -> str:
    """A row per case: milliseconds, ratios with their spread, and peak memory in MiB."""
    sides = [side for side in LABELS if side in cases[0]["seconds"]]
    others = ("pml", "formula", "products", "ours_flat", COMPILED)
    ratios = [("ours", other) for other in others if {"ours", other} <= set(sides)]
    ratios += [("core", "pml")] if {"core", "pml"} <= set(sides) else []
    with_memory = [side for side in _WITH_MEMORY if side in sides]
    rows = []
    for case in cases:
        row = [case[key] for key in CASE]
        row += [f"{1000 * np.median(case['seconds'][side]):.2f}" for side in sides]
        row += [ratio(case, side, to) for side, to in ratios]
        peaks = [case["peak_bytes"].get(side) for side in with_memory]
        row += ["" if peak is None else f"{peak / 2**20:.0f}" for peak in peaks]
        rows.append(row)
    headers = [*CASE, *(f"{side} ms" for side in sides)]
    headers += [f"{side} / {to}" for side, to in ratios]
    headers += [f"{side} MiB" for side in with_memory]
    return tabulate(rows, headers, disable_numparse=True, stralign="right")


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """How the time grows: a column per loss, a row per size that was varied, a line per side.

    In each row the other sizes are those of the first case, except the embedding size, which has
    lines of its own.
    """
    losses = list(dict.fromkeys(case["loss"] for case in cases))
    varied = [size for size in GROWING if len({case[size] for case in cases}) > 1] or ["classes"]
    figure = Figure(figsize=(0.6 + 3.4 * len(losses), 1.2 + 3 * len(varied)), layout="constrained")
    panels = figure.subplots(len(varied), len(losses), sharey="row", squeeze=False)
    for row, size in zip(panels, varied, strict=True):
        fixed = {other: cases[0][other] for other in GROWING if other != size}
        for axes, loss in zip(row, losses, strict=True):
            chosen = [
                case
                for case in cases
                if case["loss"] == loss and all(case[k] == v for k, v in fixed.items())
            ]
            _growth(axes, chosen, size)
            shown = ", ".join(f"{GROWING[other]} {value:,}" for other, value in fixed.items())
            dimensions = sorted({case["embedding_size"] for case in chosen})
            sizes = " and ".join(f"{one}-d" for one in dimensions)
            axes.set_title(f"{loss}, {sizes}\n{shown}", fontsize=8)
        row[0].set_ylabel("forward and backward (ms)")
    handles, labels = panels[0][0].get_legend_handles_labels()
    where: dict[str, Any] = {"loc": "outside upper center", "ncols": len(losses)}
    figure.legend(handles, labels, **where, fontsize=8, frameon=False)
    figure.savefig(path, dpi=120)


def _growth(axes: Axes, cases: list[dict[str, Any]], size: str) -> None:
    sizes = list(dict.fromkeys(case["embedding_size"] for case in cases))
    for side in (side for side in LABELS if side in cases[0]["seconds"]):
        for number, embedding_size in enumerate(sizes):
            points = sorted(
                (case[size], 1000 * float(np.median(case["seconds"][side])))
                for case in cases
                if case["embedding_size"] == embedding_size
            )
            axes.plot(
                *zip(*points, strict=True),
                label=LABELS[side] + (f", {embedding_size}-d" if len(sizes) > 1 else ""),
                color=COLOURS[side],
                linestyle=("-", "--", ":", "-.")[number % 4],
                marker="o",
                markersize=3,
            )
    axes.set(yscale="log", xlabel=GROWING[size])
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_formatter(NullFormatter())
    values = sorted({case[size] for case in cases})
    if size != "levels":
        axes.set_xscale("log")
        axes.minorticks_off()
    axes.set_xticks(values, [f"{value:,}" for value in values])
    axes.grid(alpha=0.3)
