"""The table and the plot of the speed of losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tabulate import tabulate

from .loss_sides import CASE, SIDES


def ratio(case: dict[str, Any], side: str, to: str) -> str:
    """The median of the ratios of the repeats, and the half of them in the middle."""
    if not {side, to} <= case["seconds"].keys():
        return ""
    ratios = np.divide(case["seconds"][side], case["seconds"][to])
    low, middle, high = np.quantile(ratios, [0.25, 0.5, 0.75])
    return f"{middle:.2f} ({low:.2f} to {high:.2f})"


def table(cases: list[dict[str, Any]]) -> str:
    """A row per case: milliseconds, ratios with their spread, and peak memory in MiB."""
    sides = [side for side in SIDES if side in cases[0]["seconds"]]
    ratios = [("ours", "pml"), ("ours", "products"), ("ours", "ours_flat")]
    rows = []
    for case in cases:
        row = [case[key] for key in CASE]
        row += [f"{1000 * np.median(case['seconds'][side]):.2f}" for side in sides]
        row += [ratio(case, side, to) for side, to in ratios]
        peaks = [case["peak_bytes"].get(side) for side in ("pml", "ours")]
        row += ["" if peak is None else f"{peak / 2**20:.0f}" for peak in peaks]
        rows.append(row)
    headers = [*CASE, *(f"{side} ms" for side in sides)]
    headers += [f"{side} / {to}" for side, to in ratios] + ["pml MiB", "ours MiB"]
    return tabulate(rows, headers, disable_numparse=True, stralign="right")


def plot(cases: list[dict[str, Any]], path: Path) -> None:
    """How the time grows with the classes: a panel per loss, and a line per side and sizes."""
    losses = list(dict.fromkeys(case["loss"] for case in cases))
    figure = Figure(figsize=(1 + 3.5 * len(losses), 4))
    axes = figure.subplots(1, len(losses), sharey=True, squeeze=False)
    for axis, loss in zip(axes[0], losses, strict=True):
        lines: dict[tuple[str, str], list[tuple[int, float]]] = {}
        for case in (case for case in cases if case["loss"] == loss):
            shape = f"{case['embedding_size']}-d, batch {case['batch_size']}, L={case['levels']}"
            for side, seconds in case["seconds"].items():
                point = (case["classes"], 1000 * float(np.median(seconds)))
                lines.setdefault((side, shape), []).append(point)
        shapes = list(dict.fromkeys(shape for _, shape in lines))
        for (side, shape), points in lines.items():
            axis.loglog(
                *zip(*sorted(points), strict=True),
                label=f"{side}, {shape}",
                color=f"C{SIDES.index(side)}",
                marker="osv^D"[shapes.index(shape) % 5],
                linestyle=("-", "--", ":", "-.")[shapes.index(shape) % 4],
            )
        axis.set(title=loss, xlabel="fine classes")
        axis.grid(alpha=0.3)
    axes[0][0].set_ylabel("milliseconds, forward and backward")
    axes[0][-1].legend(fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
    figure.savefig(path, dpi=120, bbox_inches="tight")
