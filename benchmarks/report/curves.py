"""Training curves: accuracy against epochs and seconds, and the loss."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..results import Summary
from ..stored import VALIDATED
from .order import by_score
from .style import legend_below, line_styles


@dataclass(frozen=True)
class Curve:
    """The training of a loss, as the mean of its runs; a pair of arrays for each line.

    Attributes:
        epochs: from 1.
        seconds: of training and validation up to the end of each epoch.
        accuracy: validation MAP@R after each epoch, in percent.
        steps: the epochs, and parts of them, at which the loss was recorded.
        training_loss: as a share of its first value.
    """

    epochs: np.ndarray
    seconds: np.ndarray
    accuracy: np.ndarray
    steps: np.ndarray
    training_loss: np.ndarray


def training_curves(results: Sequence[dict[str, Any]], summary: Summary) -> Figure:
    """Validation MAP@R at the finest level by epoch and by second, and the loss by epoch.

    The losses differ in scale, so each is shown as a share of its first recorded value. With
    several runs of a loss the lines are their means.
    """
    figure = Figure(figsize=(11, 4.6), layout="constrained")
    by_epoch, by_second, loss_axes = figure.subplots(1, 3)
    styles = line_styles(summary)
    for loss, curve in curves_of(results, summary).items():
        by_epoch.plot(curve.epochs, curve.accuracy, **styles[loss])
        by_second.plot(curve.seconds, curve.accuracy, **styles[loss])
        loss_axes.plot(curve.steps, curve.training_loss, **styles[loss])
    for axes in (by_epoch, loss_axes):
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch")
    by_second.sharey(by_epoch)
    title = f"Validation, {summary.level_names[0]}"
    by_epoch.set(ylabel="MAP@R (%)", title=title)
    by_second.set(xlabel="seconds of training and validation", ylabel="MAP@R (%)", title=title)
    loss_axes.set(ylabel="loss / first loss", title="Training loss")
    loss_axes.set_ylim(0, min(1.5, 1.05 * loss_axes.get_ylim()[1]))
    legend_below(figure, *by_epoch.get_legend_handles_labels())
    return figure


def curves_of(results: Sequence[dict[str, Any]], summary: Summary) -> dict[str, Curve]:
    """The curves of every loss, the best loss first."""
    found = {}
    for loss in by_score(summary):
        runs = [result for result in results if result["config"]["loss"] == loss]
        accuracy = mean_by_step([_accuracy(run) for run in runs])
        found[loss] = Curve(
            np.arange(1, len(accuracy) + 1),
            mean_by_step([np.asarray(run["epoch_seconds"], dtype=float) for run in runs]),
            accuracy,
            max((_steps(run) for run in runs), key=len),
            mean_by_step([_loss(run) for run in runs]),
        )
    return found


def mean_by_step(curves: Sequence[np.ndarray]) -> np.ndarray:
    """The mean of curves of different lengths: one that has ended keeps its last value."""
    longest = max(len(curve) for curve in curves)
    padded = [np.pad(curve, (0, longest - len(curve)), mode="edge") for curve in curves]
    mean: np.ndarray = np.mean(padded, axis=0)
    return mean


def _accuracy(result: dict[str, Any]) -> np.ndarray:
    return 100 * np.asarray(result["validation"][VALIDATED], dtype=float)


def _loss(result: dict[str, Any]) -> np.ndarray:
    values = np.asarray(result["training_loss"]["total_loss"], dtype=float)
    share: np.ndarray = values / (values[0] or 1.0)
    return share


def _steps(result: dict[str, Any]) -> np.ndarray:
    """The epochs, and parts of them, at which the loss was recorded."""
    steps: np.ndarray = np.asarray(result["training_loss"]["~iteration~"], dtype=float)
    return steps / result["config"]["training"]["iterations_per_epoch"]
